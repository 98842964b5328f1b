// TestSupport: what the tests of every room share.
//
// A storage in memory that records, fails and crashes on request (`MemoryStorage`, `CrashReplay`), the contract that
// every storage keeps (`StorageContract`), the disk as it should be (`DiskModel`, `SectorOracle`), seeded random
// numbers, and what a test needs of the host.
