// DiskExport
