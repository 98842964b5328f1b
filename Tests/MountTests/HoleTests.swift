import DiskExport
import Foundation
import TestSupport
import Testing

/// Holes: punched, zeroed, looked for.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct HoleTests {
  let images: Images
  let top: String

  init() throws {
    images = try Images()
    try images.raw("base.raw", [UInt8](repeating: 7, count: 1 << 20))
    top = try images.qcow2("top.qcow2", over: "base.raw")
  }

  private func output(_ line: String, _ mount: TestMount) throws -> String {
    let outcome = try shell(line, in: mount)
    #expect(outcome.succeeded, "\(outcome.output)")
    return outcome.output
  }

  @Test(arguments: ["--punch-hole", "--zero-range", "--zero-range --keep-size"], [true, false])
  func aRangeThatIsMadeZeroReadsAsZeros(_ mode: String, discards: Bool) throws {
    let mount = try TestMount(top) { $0.discards = discards }
    try HostFile(mount.path("disk")).write([UInt8](repeating: 3, count: 200_000), at: 0)
    _ = try output("fallocate \(mode) -o 1000 -l 150000 $MNT/disk", mount)
    let expected = [UInt8](repeating: 3, count: 1000) + [UInt8](repeating: 0, count: 150_000) + [3, 3]
    #expect(try HostFile(mount.path("disk")).read(151_002, at: 0) == expected)
    _ = try mount.end()
    #expect(try Array(images.contents("top.qcow2").prefix(151_002)) == expected)
  }

  @Test func aHoleOverTheBaseHidesTheBase() throws {
    let mount = try TestMount(top)
    _ = try output("fallocate --punch-hole -o 0 -l 1M $MNT/disk", mount)
    #expect(try HostFile(mount.path("disk")).read(1 << 20, at: 0).allSatisfy { $0 == 0 })
  }

  @Test func anOldVersionsImageWithoutZeroClustersReadsBackZerosToo() throws {
    let old = try images.qcow2("old.qcow2", over: "base.raw", options: ["-o", "compat=0.10"])
    let mount = try TestMount(old)
    _ = try output("fallocate --punch-hole -o 0 -l 128K $MNT/disk", mount)
    #expect(try HostFile(mount.path("disk")).read(131_073, at: 0) == [UInt8](repeating: 0, count: 131_072) + [7])
  }

  @Test func spaceIsNotTakenInAdvanceAndNothingGrows() throws {
    let mount = try TestMount(top)
    let refused = try shell("fallocate -l 4096 $MNT/disk", in: mount)
    #expect(refused.output.contains("Operation not supported"))
    let tooFar = try shell("fallocate --zero-range -o \(images.size - 1) -l 4096 $MNT/disk", in: mount)
    #expect(tooFar.output.contains("File too large"))
    _ = try output("fallocate --punch-hole -o \(images.size - 1) -l 4096 $MNT/disk", mount)
    #expect(try output("stat -c %s $MNT/disk", mount) == "\(images.size)\n")
  }

  @Test func holesAreFoundByThoseWhoRead() throws {
    try images.fill("top.qcow2", 4 << 20..<5 << 20, with: 1)
    let mount = try TestMount(top)
    let disk = try HostFile(mount.path("disk"), O_RDONLY)
    // The host may know of holes in the raw base or not; what has data is never one.
    #expect(lseek(disk.descriptor, 0, seekData) == 0)
    #expect(lseek(disk.descriptor, 4 << 20, seekData) == 4 << 20)
    #expect(lseek(disk.descriptor, 4 << 20, seekHole) >= 5 << 20)
    #expect(lseek(disk.descriptor, images.size, seekHole) == -1)
    #expect(errno == ENXIO)
  }

  @Test func aSparseCopyOfWhatAnotherProcessJustWroteIsComplete() throws {
    let mount = try TestMount(top)
    // The kernel remembers the blocks of this look for a while.
    #expect(try output("stat -c %b $MNT/disk", mount) != "\(images.size / 512)\n")
    let disk = try HostFile(mount.path("disk"))
    try disk.write([UInt8](repeating: 0x41, count: 1 << 20), at: 5 << 20)
    let copy = images.path("copy")
    _ = try output("cp --sparse=always $MNT/disk \(copy) && cmp \(copy) $MNT/disk", mount)
    let blocks = try output("stat -c %b $MNT/disk", mount).split(separator: "\n").compactMap { Int($0) }
    #expect(blocks.count == 1 && blocks.allSatisfy { (2 << 20) / 512...images.size / 512 ~= $0 })
  }

  private let seekData: Int32 = 3
  private let seekHole: Int32 = 4

  /// Past the kernel's cache, synced or not, of a layer with clusters or none. Through it: `FlatcowTests.DirtyPagesTests`.
  @Test(arguments: [true, false]) func holesAreShownWhileSomebodyWritesAndDataIsNone(isSynced: Bool) throws {
    for top in [try images.qcow2("empty.qcow2"), try images.raw("empty.raw")] {
      let mount = try TestMount(top) { $0.cachesPages = false }
      let disk = try HostFile(mount.path("disk"))
      let reader = try HostFile(mount.path("disk"), O_RDONLY)
      var blocks = 0
      for offset in stride(from: 1 << 20, to: 6 << 20, by: 1 << 20) {
        try disk.write([UInt8](repeating: 1, count: 4096), at: offset)
        if isSynced { try HostError.check(fsync(disk.descriptor)) }
        blocks += 8
        var status = stat()
        try HostError.check(unsafe fstat(reader.descriptor, &status))
        #expect(status.st_blocks >= blocks, "\(top)")
        let isHole = eventually { lseek(reader.descriptor, offset - 4096, seekHole) == offset - 4096 ? true : nil }
        #expect(isHole == true, "\(top)")
        let data = lseek(reader.descriptor, offset - 65536, seekData)
        #expect(data >= offset - 65536 && data <= offset, "\(top)")
        #expect(lseek(reader.descriptor, offset, seekData) == offset, "\(top)")
      }
      let shown = eventually { () -> Int? in
        let blocks = (try? output("stat -c %b $MNT/disk", mount)).flatMap { Int($0.dropLast()) } ?? .max
        return blocks < (2 << 20) / 512 ? blocks : nil
      }
      #expect(shown != nil, "\(top)")
    }
  }

  @Test func blocksAreCountedOnceNobodyWrites() throws {
    let empty = try images.qcow2("empty.qcow2")
    let mount = try TestMount(empty)
    #expect(try output("stat -c %b $MNT/disk", mount) == "0\n")
    try HostFile(mount.path("disk")).write([1], at: 0)
    let blocks = Int(try output("stat -c %b $MNT/disk", mount).dropLast()) ?? 0
    #expect(blocks >= 65536 / 512 && blocks < images.size / 512)
  }
}
