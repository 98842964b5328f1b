import BackingChain
import DiskExport
import Foundation
import HostStorage
import TestSupport
import Testing

/// `disk` is a block device in a file's clothes.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct DiskTests {
  let images: Images
  let top: String

  init() throws {
    images = try Images()
    try images.raw("base.raw", [UInt8](repeating: 7, count: 1 << 20))
    top = try images.qcow2("top.qcow2", over: "base.raw")
  }

  private func size(_ mount: TestMount) throws -> Int {
    var status = stat()
    try HostError.check(unsafe stat(mount.path("disk"), &status))
    return status.st_size
  }

  @Test func aChainIsReadAndWritten() throws {
    let mount = try TestMount(top)
    let disk = try HostFile(mount.path("disk"))
    try disk.write([1, 2, 3], at: 4095)
    #expect(try disk.read(5, at: 4094) == [7, 1, 2, 3, 7])
    #expect(try disk.read(5, at: images.size - 2) == [0, 0])
  }

  @Test func whatWasWrittenIsInTheImageAfterTheEnd() throws {
    let mount = try TestMount(top)
    try HostFile(mount.path("disk")).write([UInt8](repeating: 9, count: 300_000), at: 1_000_001)
    #expect(try mount.end().isClean)
    var expected = [UInt8](repeating: 7, count: 1 << 20) + [UInt8](repeating: 0, count: images.size - 1 << 20)
    expected.replaceSubrange(1_000_001..<1_300_001, with: repeatElement(9, count: 300_000))
    #expect(try images.contents("top.qcow2") == expected)
    #expect(try images.isClean("top.qcow2"))
  }

  /// Programs that believe to have emptied it skip the zeros of what they write.
  @Test(
    arguments: [true, false], [": > $MNT/disk", "cp new $MNT/disk", "dd of=$MNT/disk if=new", "truncate -s0 $MNT/disk"])
  func whatEmptiesItFirstIsRefusedAndChangesNothing(cached: Bool, _ line: String) throws {
    let mount = try TestMount(top) { $0.cachesPages = cached }
    let disk = try HostFile(mount.path("disk"))
    try disk.write([5], at: 2 << 20)
    let outcome = try shell("cd \(images.path(".")) && printf abc >new && \(line)", in: mount)
    #expect(!outcome.succeeded, "\(outcome.output)")
    #expect(try size(mount) == images.size)
    #expect(try disk.read(1, at: 0) == [7])
    #expect(try disk.read(1, at: 2 << 20) == [5])
  }

  @Test(arguments: [true, false]) func spaceCannotBeReservedPastTheEnd(cached: Bool) throws {
    let mount = try TestMount(top) { $0.cachesPages = cached }
    let disk = try HostFile(mount.path("disk"))
    for start in [images.size - 4096, images.size, images.size + 4096] {
      #expect(posix_fallocate(disk.descriptor, start, 8192) == EFBIG)
    }
    #expect(posix_fallocate(disk.descriptor, 0, images.size) == 0)
    #expect(try disk.read(1, at: 0) == [7])
    #expect(try size(mount) == images.size)
  }

  @Test func aDiskOfNoBytesMayBeEmptied() throws {
    let empty = try images.raw("empty.raw")
    try HostError.check(unsafe truncate(empty, 0))
    let mount = try TestMount(empty)
    #expect(try shell(": > $MNT/disk", in: mount).succeeded)
  }

  @Test func otherSizesOwnersAndModesAreRefused() throws {
    let mount = try TestMount(top)
    let path = mount.path("disk")
    let disk = try HostFile(path)
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe truncate(path, 4096)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe truncate(path, images.size + 1)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(ftruncate(disk.descriptor, 0)) }
    #expect(throws: HostError(EPERM)) { try HostFile(path, O_RDWR | O_TRUNC) }
    try HostError.check(unsafe truncate(path, images.size))
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe chmod(path, 0o644)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe chown(path, 1, 1)) }
    try HostError.check(ftruncate(disk.descriptor, images.size))
    #expect(try size(mount) == images.size)
  }

  @Test func timesAreTakenAndFsyncWorksAfterwards() throws {
    let mount = try TestMount(top)
    let touched = try shell("touch -d @1000000000 $MNT/disk && stat -c %Y $MNT/disk", in: mount)
    #expect(touched.output == "1000000000\n")
    let line = "dd if=/dev/zero of=$MNT/disk bs=4k count=1 conv=notrunc,fsync status=none"
    #expect(try shell(line, in: mount).succeeded)
  }

  @Test func aDirectWritePastTheEndHasNoSpace() throws {
    let mount = try TestMount(top)
    let place = "seek=\(images.size - 4096) oflag=direct,seek_bytes conv=notrunc"
    let outcome = try shell("dd if=/dev/zero of=$MNT/disk bs=8k count=2 \(place)", in: mount)
    #expect(outcome.output.contains("No space left on device"))
    #expect(try size(mount) == images.size)
  }

  @Test func aCachedWritePastTheEndFailsAtTheSyncAndTheSizeIsPutRight() throws {
    let mount = try TestMount(top)
    do {
      let disk = try HostFile(mount.path("disk"))
      try disk.write([1], at: images.size + 10_000)
      #expect(throws: HostError(ENOSPC)) { try HostError.check(fsync(disk.descriptor)) }
      #expect(eventually { (try? size(mount)) == images.size ? true : nil } == true)
      // Nothing is lost but what lay outside.
      try disk.write([1], at: 0)
      try HostError.check(fsync(disk.descriptor))
    }
    #expect(try mount.end().isClean)
  }

  @Test func othersGoOnWhileOneWritesPastTheEnd() throws {
    let mount = try TestMount(top)
    let stop = Monitor(false)
    let place = mount.path("disk")
    // Past the cache, through it, and with a sync each; the kernel tells each open file of a lost page once, by its sync.
    let failures = [(OpenFlag.direct, false, 0), (0, false, 0), (0, true, 1)].map { flags, syncs, allowed in
      Waiter { () -> Int in
        guard let disk = try? HostFile(place, O_RDWR | flags) else { return 1000 }
        var count = -allowed
        while !stop.read({ $0 }) {
          if (try? disk.write([UInt8](repeating: 1, count: 4096), at: 1 << 20)) == nil { count += 1 }
          if syncs && fsync(disk.descriptor) != 0 { count += 1 }
        }
        return count
      }
    }
    let line = "dd if=/dev/zero of=$MNT/disk bs=4096 count=1 seek=\(images.size / 4096) conv=notrunc,fsync"
    #expect(try shell(line, in: mount).output.contains("No space left on device"))
    #expect(try size(mount) == images.size)
    stop.withLock { $0 = true }
    for failure in failures { #expect(failure.result() <= 0) }
  }

  @Test func aWriterWithoutAnEndComesToOne() throws {
    let mount = try TestMount(top)
    let outcome = try shell("timeout 60 dd if=/dev/zero of=$MNT/disk bs=1M conv=notrunc", in: mount)
    #expect(outcome.output.contains("No space left on device"))
    #expect(eventually { (try? size(mount)) == images.size ? true : nil } == true)
    #expect(try mount.end().isClean)
    #expect(try images.contents("top.qcow2").allSatisfy { $0 == 0 })
  }

  @Test func directWritesAndSharedMappingsSeeEachOther() throws {
    let mount = try TestMount(top)
    var disk: HostFile? = try HostFile(mount.path("disk"))
    let map = unsafe mmap(nil, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, disk?.descriptor ?? -1, 0)
    try #require(unsafe map != MAP_FAILED)
    let bytes = unsafe UnsafeMutableRawBufferPointer(start: map, count: 8192)
    #expect(unsafe bytes[5000] == 7)
    unsafe bytes[5000] = 42
    #expect(unsafe msync(map, 8192, MS_SYNC) == 0)
    unsafe munmap(map, 8192)
    disk = nil
    #expect(try HostFile(mount.path("disk"), O_RDONLY).read(1, at: 5000) == [42])
    _ = try mount.end()
    #expect(try images.contents("top.qcow2")[5000] == 42)
  }

  @Test func pagesThatAreDirtyWhenItEndsAreNotLost() throws {
    let mount = try TestMount(top)
    let outcome = try shell(
      "dd if=/dev/urandom of=$MNT/disk bs=1M count=8 conv=notrunc status=none && sha256sum < $MNT/disk", in: mount)
    _ = try mount.end()
    let flat = try images.contents("top.qcow2")
    let file = try TemporaryDirectory()
    let sum = try ExternalProgram("sha256sum").run(file.file("flat", flat))
    #expect(outcome.output.prefix(64) == sum.output.prefix(64))
  }

  @Test func manyReadersAtOnceReadTheSame() throws {
    let mount = try TestMount(top)
    let readers = (0..<8).map { _ in
      Waiter { () -> [UInt8] in (try? HostFile(mount.path("disk"), O_RDONLY).read(2 << 20, at: 0)) ?? [] }
    }
    let expected = [UInt8](repeating: 7, count: 1 << 20) + [UInt8](repeating: 0, count: 1 << 20)
    for reader in readers { #expect(reader.result() == expected) }
  }

  @Test func aReadOnlyMountRefusesWriting() throws {
    var options = ChainOptions()
    options.isReadOnly = true
    let mount = try TestMount(top, chain: options)
    #expect(throws: HostError(EROFS)) { try HostFile(mount.path("disk"), O_RDWR) }
    #expect(throws: HostError(EROFS)) { try HostFile(mount.path("control"), O_WRONLY) }
    #expect(try HostFile(mount.path("disk"), O_RDONLY).read(1, at: 0) == [7])
    var status = stat()
    try HostError.check(unsafe stat(mount.path("disk"), &status))
    #expect(status.st_mode & 0o7777 == 0o400)
  }

  @Test func ownerAndModeConcernTheDiskOnly() throws {
    let mount = try TestMount(top) { options in
      options.owner = 1000
      options.group = 1001
      options.permissions = 0o660
    }
    let outcome = try shell("stat -c '%u %g %a' $MNT/disk $MNT/control", in: mount)
    #expect(outcome.output == "1000 1001 660\n\(geteuid()) \(getegid()) 600\n")
  }

  @Test func withoutACacheItIsReadAndWrittenToo() throws {
    let mount = try TestMount(top) { $0.cachesPages = false }
    let disk = try HostFile(mount.path("disk"))
    try disk.write([1, 2, 3], at: 511)
    #expect(try disk.read(5, at: 510) == [7, 1, 2, 3, 7])
    #expect(throws: HostError(ENOSPC)) { try disk.write([1], at: images.size) }
    try HostError.check(fsync(disk.descriptor))
  }
}
