// StreamJob
