import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import DiskExport

@Suite struct DiskFileTests {
  let end = MemoryDisk.size

  @Test func aReadStopsAtTheEnd() throws {
    let disk = try MemoryDisk()
    #expect(try disk.read(end - 2..<end + 100) == [7, 7])
    #expect(try disk.read(end..<end + 1) == [])
    #expect(try disk.read(end + 5000..<end + 5001) == [])
  }

  @Test func aWriteAcrossTheEndWritesWhatLiesInside() throws {
    let disk = try MemoryDisk()
    #expect(throws: Errno(ENOSPC)) { try disk.file.write([1, 2, 3].span, at: GuestOffset(end - 2)) }
    #expect(try disk.read(end - 3..<end) == [7, 1, 2])
    #expect(throws: Errno(ENOSPC)) { try disk.file.write([1].span, at: GuestOffset(end)) }
    #expect(throws: Errno(ENOSPC)) { try disk.file.write([1].span, at: GuestOffset(end + 1)) }
    #expect(disk.storage.status().size == ByteCount(end))
  }

  @Test func aWriteBackPastTheEndIsToldOnceToEachWhoHasTheDiskOpenAndLosesNothing() throws {
    let disk = try MemoryDisk()
    let writers = try (0..<2).map { _ in try disk.file.open(OpenFlags(rawValue: O_RDWR)).handle }
    let reader = try disk.file.open(OpenFlags(rawValue: O_RDONLY)).handle
    guard case .success = disk.file.writeBack([1, 2].span, at: GuestOffset(end - 1)) else {
      Issue.record("the kernel was told of a write that it would tell anybody of")
      return
    }
    #expect(try disk.read(end - 1..<end) == [1])
    #expect(disk.storage.status().size == ByteCount(end))
    let later = try disk.file.open(OpenFlags(rawValue: O_RDWR)).handle
    for writer in writers {
      // Of a child that has inherited it, say.
      #expect(throws: Errno(ENOSPC)) { try disk.file.flush(writer) }
      #expect(throws: Errno(ENOSPC)) { try disk.file.synchronize(writer) }
    }
    for handle in writers + [reader, later] {
      try disk.file.synchronize(handle)
      try disk.file.flush(handle)
    }
    try disk.file.write([3].span, at: GuestOffset(0))
    #expect(!disk.chain.isDurabilityLost)
    try disk.file.synchronize()
  }

  @Test func aWriteThatFailsIsTheWritersOwnTrouble() throws {
    let disk = try MemoryDisk()
    disk.storage.setFaults(FaultPlan([.write], nth: 1))
    #expect(throws: Errno(EIO)) { try disk.file.write([1].span, at: GuestOffset(0)) }
    try disk.file.write([1].span, at: GuestOffset(0))
    try disk.file.synchronize()
    #expect(disk.file.faults.errors == 1)
  }

  @Test func aWriteBackThatFailsIsALostSync() throws {
    let disk = try MemoryDisk()
    disk.storage.setFaults(FaultPlan([.write], nth: 1))
    guard case .failure(Errno(EIO)) = disk.file.writeBack([1].span, at: GuestOffset(0)) else {
      Issue.record("the write-back did not fail")
      return
    }
    #expect(throws: Errno(EIO)) { try disk.file.synchronize() }
    #expect(throws: Errno(EIO)) { try disk.file.synchronize() }
    #expect(disk.chain.isDurabilityLost)
    #expect(try disk.read(0..<1) == [7])
  }

  @Test(arguments: [EIO, ENOSPC]) func aSyncThatFailsFailsForEver(_ errno: Int32) throws {
    let disk = try MemoryDisk()
    try disk.file.write([1].span, at: GuestOffset(0))
    disk.storage.setFaults(FaultPlan([.sync], nth: 1, errno: errno))
    #expect(throws: Errno(EIO)) { try disk.file.synchronize() }
    disk.storage.setFaults(nil)
    #expect(throws: Errno(EIO)) { try disk.file.synchronize() }
    // The first failure is the one that a person needs to hear of.
    #expect(disk.chain.durabilityLoss?.storage?.errno == errno)
  }

  @Test func closingAWriterSyncsAndClosingAReaderDoesNot() throws {
    let disk = try MemoryDisk()
    try disk.file.write([1].span, at: GuestOffset(0))
    let reader = try disk.file.open(OpenFlags(rawValue: O_RDONLY))
    let writer = try disk.file.open(OpenFlags(rawValue: O_RDWR))
    disk.storage.forgetLog()
    try disk.file.flush(reader.handle)
    #expect(disk.storage.log.isEmpty)
    try disk.file.flush(writer.handle)
    #expect(disk.storage.log == [.sync])
  }

  @Test func aSynchronousWriteIsSyncedOnceBeforeItReturnsAndAnotherIsNot() throws {
    let disk = try MemoryDisk()
    try disk.file.write([1].span, at: GuestOffset(0), durably: true)
    #expect(disk.storage.log == [.write([1], at: 0), .sync])
    try disk.file.write([2].span, at: GuestOffset(0))
    #expect(disk.storage.log.last == .write([2], at: 0))
  }

  @Test func aSynchronousWriteFailsWithItsSync() throws {
    let disk = try MemoryDisk()
    disk.storage.setFaults(FaultPlan([.sync], nth: 1))
    #expect(throws: Errno(EIO)) { try disk.file.write([1].span, at: GuestOffset(0), durably: true) }
    #expect(disk.chain.isDurabilityLost)
  }

  @Test(arguments: [(O_RDWR | O_DSYNC, true), (O_RDWR | O_SYNC, true), (O_RDWR, false)])
  func zeroingByASynchronousFileIsSynced(_ flags: Int32, isSynced: Bool) throws {
    let disk = try MemoryDisk()
    let handle = try disk.file.open(OpenFlags(rawValue: flags)).handle
    try disk.file.allocate(GuestRange(0..<4096), mode: .zeroRange, by: handle)
    #expect(disk.storage.log == [.zero(0..<4096)] + (isSynced ? [.sync] : []))
  }

  @Test func aReadOnlyDiskIsNotOpenedForWriting() throws {
    let disk = try MemoryDisk(readOnly: true)
    #expect(throws: Errno(EROFS)) { try disk.file.open(OpenFlags(rawValue: O_RDWR)) }
    #expect(disk.file.attributes().permissions == 0o400)
    #expect(throws: Errno(EROFS)) { try disk.file.write([1].span, at: GuestOffset(0)) }
  }
}

/// What setattr may ask of `disk`.
@Suite struct DiskAttributeTests {
  private func change(_ configure: (inout AttributeChange) -> Void) throws -> FileAttributes {
    var change = AttributeChange()
    configure(&change)
    return try MemoryDisk().file.change(change)
  }

  @Test func itsOwnSizeIsTaken() throws {
    #expect(try change { $0.size = MemoryDisk.size }.size == MemoryDisk.size)
  }

  @Test(arguments: [0, 1, MemoryDisk.size - 1, MemoryDisk.size + 1]) func otherSizesAreRefused(_ size: Int) {
    #expect(throws: Errno(EPERM)) { try change { $0.size = size } }
  }

  @Test func ownersAndModesAreRefused() {
    #expect(throws: Errno(EPERM)) { try change { $0.permissions = 0o644 } }
    #expect(throws: Errno(EPERM)) { try change { $0.owner = 1 } }
    #expect(throws: Errno(EPERM)) { try change { $0.group = 1 } }
  }

  @Test func timesAreKept() throws {
    let time = FileTime(nanoseconds: 1_000_000_001)
    #expect(try change { $0.modified = .at(time) }.modified == time)
    #expect(try change { $0.accessed = .at(time) }.accessed == time)
    #expect(try change { $0.accessed = .now }.accessed.nanoseconds > time.nanoseconds)
  }
}

/// Holes without a kernel.
@Suite struct DiskHoleTests {
  /// Data in the first and the third quarter.
  private func sparse(configure: (inout ExportOptions) -> Void = { _ in }) throws -> MemoryDisk {
    let disk = try MemoryDisk(configure: configure)
    for start in [quarter, 3 * quarter] {
      try disk.storage.punch(HostRange(start..<start + quarter))
    }
    return disk
  }

  private let quarter = MemoryDisk.size / 4
  private let reader = FileHandle(0)
  private let writing = OpenFlags(rawValue: O_RDWR)

  @Test func dataAndHolesAreFound() throws {
    let file = try sparse().file
    #expect(try file.seek(.data, from: GuestOffset(5)) == GuestOffset(5))
    #expect(try file.seek(.hole, from: GuestOffset(5)) == GuestOffset(quarter))
    #expect(try file.seek(.data, from: GuestOffset(quarter)) == GuestOffset(2 * quarter))
    #expect(try file.seek(.hole, from: GuestOffset(3 * quarter + 1)) == GuestOffset(3 * quarter + 1))
    #expect(throws: Errno(ENXIO)) { try file.seek(.data, from: GuestOffset(3 * quarter)) }
    #expect(throws: Errno(ENXIO)) { try file.seek(.hole, from: GuestOffset(4 * quarter)) }
    #expect(file.attributes().blocks == 2 * quarter / 512)
  }

  @Test func aWriteIntoAHoleOfTheHostIsCountedAtOnce() throws {
    let file = try sparse().file
    let before = file.attributes().blocks
    try file.write([1].span, at: GuestOffset(quarter - 1 - 4096))
    try file.write([UInt8](repeating: 1, count: 8192).span, at: GuestOffset(quarter))
    #expect(file.attributes().blocks >= before + 16)
  }

  @Test func theEndIsAHole() throws {
    #expect(try MemoryDisk().file.seek(.hole, from: GuestOffset(0)) == GuestOffset(MemoryDisk.size))
  }

  @Test func nothingIsAHoleWhileSomebodyMayHaveDirtyPages() throws {
    let file = try sparse().file
    let handle = try file.open(writing).handle
    #expect(try file.seek(.data, from: GuestOffset(quarter)) == GuestOffset(quarter))
    #expect(try file.seek(.hole, from: GuestOffset(0)) == GuestOffset(MemoryDisk.size))
    #expect(file.attributes().blocks == MemoryDisk.size / 512)
    file.release(handle)
    #expect(try file.seek(.hole, from: GuestOffset(0)) == GuestOffset(quarter))
  }

  @Test func withoutTheKernelsCacheHolesAreHoles() throws {
    let file = try sparse { $0.cachesPages = false }.file
    _ = try file.open(writing)
    #expect(try file.seek(.hole, from: GuestOffset(0)) == GuestOffset(quarter))
  }

  @Test(arguments: [
    (0x03, true, StorageAction.punch), (0x03, false, .zero), (0x10, true, .zero), (0x11, true, .zero),
  ]) func zerosAreMadeAsAsked(_ mode: Int32, discards: Bool, _ action: StorageAction) throws {
    let disk = try MemoryDisk { $0.discards = discards }
    let calls = Monitor<[StorageAction]>([])
    disk.storage.setHook { action, _ in calls.withLock { $0.append(action) } }
    try disk.file.allocate(GuestRange(4096..<8192), mode: AllocationMode(rawValue: mode), by: reader)
    #expect(calls.read { $0.contains(action) })
    #expect(try disk.read(4095..<8193) == [7] + [UInt8](repeating: 0, count: 4096) + [7])
  }

  @Test(arguments: [0x00, 0x01, 0x02, 0x08, 0x13, 0x20] as [Int32]) func otherModesAreNotSupported(_ mode: Int32) {
    #expect(throws: Errno(EOPNOTSUPP)) {
      try MemoryDisk().file.allocate(GuestRange(0..<4096), mode: AllocationMode(rawValue: mode), by: reader)
    }
  }

  @Test func nothingGrows() throws {
    let disk = try MemoryDisk()
    let past = GuestRange(MemoryDisk.size..<MemoryDisk.size + 4096)
    #expect(throws: Errno(EFBIG)) { try disk.file.allocate(past, mode: [], by: reader) }
    let across = GuestRange(MemoryDisk.size - 1..<MemoryDisk.size + 1)
    #expect(throws: Errno(EFBIG)) { try disk.file.allocate(across, mode: .zeroRange, by: reader) }
    #expect(try disk.read(across.start.bytes..<across.start.bytes + 1) == [7])
    try disk.file.allocate(across, mode: [.zeroRange, .keepSize], by: reader)
    #expect(try disk.read(across.start.bytes..<across.start.bytes + 1) == [0])
    try disk.file.allocate(GuestRange(2 << 20..<3 << 20), mode: [.punchHole, .keepSize], by: reader)
    #expect(disk.storage.status().size == ByteCount(MemoryDisk.size))
  }
}
