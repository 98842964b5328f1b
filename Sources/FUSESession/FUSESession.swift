// FUSESession
