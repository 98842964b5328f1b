import Foundation
import Glibc
import TestSupport
import Testing

/// Sectors of a layer's file that cannot be read or written: whoever asked is told, the rest is served, and when the fault
/// is gone everything goes on.
@Suite(
  .enabled(if: FaultyFile.isPossible, "qemu-storage-daemon or /dev/fuse is missing: `make deps` as root"),
  .timeLimit(.minutes(10)), .serialized)
struct LayerFaultTests {
  private let disk: LayeredDisk
  private var images: MountedImages { disk.images }
  /// Sectors of the guest that are in the top image, and others there with another table. In the file they are so far from
  /// the first that the kernel reads no page of both at once.
  private let written = 4096..<4608
  private let far = 9000

  /// Clusters of 4 KiB: a table maps 4096 sectors.
  init() throws {
    var random = SeededRandom(seed: 3)
    disk = try LayeredDisk(geometry: "cluster_size=4K", random: &random)
    try images.mount("stream=off")
    try disk.write(far..<(far + 512))
    try disk.write(written)
    try disk.sync()
    try images.shell("flatcow umount mnt")
  }

  /// The first sector of the top image that holds this one of the guest.
  private func hostSector(of sector: Int) throws -> Int {
    let position = sector * SectorLedger.sectorSize
    let extents = try disk.map()
    let extent = try #require(
      extents.first { $0.depth == 0 && $0.start <= position && position < $0.start + $0.length })
    return (try #require(extent.offset) + position - extent.start) / SectorLedger.sectorSize
  }

  /// The sectors of the table that maps `written` (specification, "Cluster mapping").
  private func tableSectors() throws -> Range<Int> {
    let file = try HostFile(images.path("top.qcow2"), O_RDONLY)
    func word(at offset: Int) throws -> Int {
      try file.read(8, at: offset).reduce(0) { $0 << 8 | Int($1) } & 0xFF_FFFF_FFFF
    }
    let table = try word(at: word(at: 40) + 8) / SectorLedger.sectorSize
    return table..<(table + 8)
  }

  /// The disk is as it should be, mounted and in QEMU; so is the image.
  private func expectGoodEnd(_ file: FaultyFile) throws {
    #expect(try images.text("status.json").contains("\"durability\": \"ok\""))
    #expect(try disk.ledger.settle(images.disk) == [])
    try images.shell("flatcow umount mnt")
    try file.end()
    try images.shell("qemu-img check -q top.qcow2")
    try disk.expectEqual()
    try disk.expectImageHoldsWhatWasSynced()
  }

  @Test func anUnreadableSectorIsItsReadersErrorOnly() throws {
    let bad = written.lowerBound + 20
    let sector = try hostSector(of: bad)
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("min-free=0")
    try file.set(FaultyFile.Fault(kind: .read, sectors: sector..<(sector + 1)))
    #expect(throws: HostError(EIO)) { try disk.read(bad) }
    for other in [written.upperBound - 1, far, 0] { try disk.read(other) }
    try disk.write(far..<(far + 3))
    try disk.sync()
    // What is in the top already concerns no job.
    try images.awaitState("pending")
    #expect(try !images.text("status.json").contains("\"last_error\": null"))
    try file.heal()
    #expect(images.complete("") == nil)
    try expectGoodEnd(file)
  }

  @Test func anUnwritableSectorIsItsWritersErrorOnly() throws {
    let bad = written.lowerBound + 4
    let sector = try hostSector(of: bad)
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("stream=off")
    try file.set(FaultyFile.Fault(kind: .write, sectors: sector..<(sector + 1)))
    #expect(throws: HostError(EIO)) { try disk.write(bad..<(bad + 1), by: 1) }
    for other in [written.upperBound - 1, far, 0] { try disk.write(other..<(other + 1)) }
    try disk.sync()
    try file.heal()
    try disk.write(bad..<(bad + 1))
    try disk.sync()
    try expectGoodEnd(file)
  }

  /// The kernel's cache drops the page, and only a failure of every later sync tells of it.
  @Test func aWriteBackThatFailsIsALossThatIsTold() throws {
    let bad = written.lowerBound + 8
    let sector = try hostSector(of: bad)
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("stream=off")
    do {
      let guest = try HostFile(images.disk)
      // Before the write: a sync(2) of anybody's on this host writes the page back.
      try file.set(FaultyFile.Fault(kind: .write, sectors: sector..<(sector + 1), isOnce: true))
      try guest.write(disk.ledger.willWrite(bad..<(bad + 8), by: 0), at: bad * SectorLedger.sectorSize)
      for _ in 1...3 { #expect(throws: HostError(EIO)) { try HostError.check(fsync(guest.descriptor)) } }
    }
    #expect(try images.text("status.json").contains("\"durability\": \"lost\""))
    try disk.read(far)
    #expect(try !images.run("flatcow umount mnt").succeeded)
    try file.end()
    try images.expectNoErrors()
    try disk.expectImageHoldsWhatWasSynced()
  }

  @Test func anUnreadableTableConcernsItsRangeOnly() throws {
    let table = try tableSectors()
    let file = try FaultyFile("top.qcow2", of: images)
    try file.set(FaultyFile.Fault(kind: .read, sectors: table))
    try images.mount("on-error=stop,min-free=0")
    #expect(throws: HostError(EIO)) { try disk.read(written.lowerBound) }
    #expect(throws: HostError(EIO)) { try disk.write(written.lowerBound..<(written.lowerBound + 1), by: 1) }
    for other in [far, 0] { try disk.read(other) }
    try disk.write(far..<(far + 1))
    try disk.sync()
    try images.awaitState("paused")
    try file.heal()
    try disk.write(written)
    try disk.sync()
    try images.shell("flatcow resume mnt; flatcow finish mnt --timeout 60")
    try expectGoodEnd(file)
  }

  /// A sync that could not write a table is no lost sync: the next one writes it.
  @Test func anUnwritableTableIsWrittenByTheNextSync() throws {
    let table = try tableSectors()
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("stream=off")
    try file.set(FaultyFile.Fault(kind: .write, sectors: table))
    let new = (written.upperBound + 100)..<(written.upperBound + 140)
    try disk.write(new)
    for _ in 1...2 { #expect(throws: HostError(EIO)) { try disk.sync() } }
    #expect(try images.text("status.json").contains("\"durability\": \"failing\""))
    #expect(try images.shell("flatcow status mnt").contains("durability failing"))
    try file.heal()
    try disk.sync()
    #expect(try images.text("status.json").contains("\"durability\": \"ok\""))
    try images.kill()
    try file.end()
    try images.expectNoErrors()
    try disk.expectImageHoldsWhatWasSynced()
  }

  /// The same where nobody syncs, and the unmount's own flush is the one that fails.
  @Test(arguments: ["writeback", "none"], ["table", "flush"])
  func anUnmountWhoseLastFlushFailsSaysWhatIsLost(cache: String, fault: String) throws {
    let table = try tableSectors()
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("stream=off,cache=\(cache)")
    try file.set(fault == "table" ? .init(kind: .write, sectors: table) : .init(kind: .flush))
    try disk.write((written.upperBound + 100)..<(written.upperBound + 140))
    let ended = try images.run("flatcow umount mnt")
    #expect(ended.status == 3)
    #expect(ended.output.contains("cannot \(fault == "table" ? "write" : "sync") "), "\(ended.output)")
    try file.end()
    try images.expectNoErrors()
    try disk.expectImageHoldsWhatWasSynced()
  }

  @Test(arguments: [("report", "failed"), ("enospc", "failed"), ("ignore", "failed"), ("stop", "paused")])
  func anUnreadableBaseNeverBecomesData(policy: String, state: String) throws {
    let extents = try disk.map()
    let extent = try #require(extents.last { $0.depth == 2 && $0.data && $0.length >= 1 << 16 })
    let bad = extent.start / SectorLedger.sectorSize + 3
    let file = try FaultyFile("base.raw", of: images)
    try file.set(FaultyFile.Fault(kind: .read, sectors: bad..<(bad + 1)))
    try images.mount("on-error=\(policy),min-free=0")
    try images.awaitState(state)
    #expect(throws: HostError(EIO)) { try disk.read(bad) }
    // The rest of its cluster would have to be copied.
    #expect(throws: HostError(EIO)) { try disk.write((bad + 1)..<(bad + 2), by: 1) }
    for other in [bad > 512 ? bad - 512 : bad + 512, far, 0] { try disk.read(other) }
    try disk.write(far..<(far + 1))
    try disk.sync()
    try file.heal()
    let wrong = try disk.ledger.settle(images.disk)
    #expect(wrong == [])
    try images.shell("flatcow stream mnt; flatcow wait mnt --timeout 60; flatcow umount mnt")
    try file.end()
    try images.mount("min-free=0")
    try images.shell("flatcow finish mnt --timeout 60; flatcow umount mnt; qemu-img check -q top.qcow2")
    try disk.expectEqual()
    try disk.expectImageHoldsWhatWasSynced()
  }
}
