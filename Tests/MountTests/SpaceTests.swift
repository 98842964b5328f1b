import DiskExport
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// A host that has no space left.
@Suite(.enabled(if: canMount && geteuid() == 0, "only root mounts a small file system"), .timeLimit(.minutes(2)))
struct SpaceTests {
  let host: SmallHost
  let top: String

  init() throws {
    host = try SmallHost(mebibytes: 4)
    top = host.path("top.qcow2")
    try #require(try ExternalProgram("qemu-img").run("create", "-q", "-f", "qcow2", top, "64M").succeeded)
    _ = try ExternalProgram("fallocate").run("-l", "3M", host.path("filler"))
  }

  /// In the kernel, a close(2) of the disk waits for its pages; reading does not.
  @Test func aCachedWriteWaitsUntilThereIsSpace() throws {
    let mount = try TestMount(top)
    let disk = try HostFile(mount.path("disk"))
    try disk.write([UInt8](repeating: 5, count: 2 << 20), at: 0)
    let sync = Waiter { fsync(disk.descriptor) }
    let isParked = eventually { () -> Bool? in
      (try? mount.text("status.json"))?.contains("\"parked_writes\": 0") == false ? true : nil
    }
    #expect(isParked == true)
    // The rest of the mount does not wait with it.
    #expect(try mount.text("stream/state") == "idle\n")
    let reader = try HostFile(mount.path("disk"), O_RDONLY)
    #expect(try reader.read(1, at: 32 << 20) == [0])
    try FileManager.default.removeItem(atPath: host.path("filler"))
    #expect(sync.result() == 0)
    let status = try mount.text("status.json")
    #expect(status.contains("\"durability\": \"ok\""))
  }

  @Test func aCachedWriteThatWaitedInVainHasLostDurability() throws {
    let mount = try TestMount(top) { $0.noSpaceTimeout = .zero }
    do {
      let disk = try HostFile(mount.path("disk"))
      try disk.write([UInt8](repeating: 5, count: 2 << 20), at: 0)
      #expect(fsync(disk.descriptor) == -1)
      try FileManager.default.removeItem(atPath: host.path("filler"))
      // The kernel has told of it once; here it is for ever.
      #expect(throws: HostError(EIO)) { try HostError.check(fsync(disk.descriptor)) }
      #expect(try mount.text("status.json").contains("\"durability\": \"lost\""))
      #expect(throws: HostError(EIO)) { try HostFile(mount.path("control"), O_WRONLY).write([10], at: 0) }
      #expect(try mount.text("stream/error").contains("written data was lost"))
    }
    #expect(try !mount.end().isClean)
  }

  @Test func aDirectWriterIsToldAtOnce() throws {
    let mount = try TestMount(top)
    let outcome = try shell("dd if=/dev/zero of=$MNT/disk bs=1M count=2 oflag=direct conv=notrunc", in: mount)
    #expect(outcome.output.contains("No space left on device"))
    #expect(try mount.text("status.json").contains("\"durability\": \"ok\""))
  }
}

/// A host file system of a few mebibytes; unmounted with the last reference.
final class SmallHost: Sendable {
  private let directory: TemporaryDirectory

  init(mebibytes: Int) throws {
    directory = try TemporaryDirectory()
    let outcome = try ExternalProgram("mount").run("-t", "tmpfs", "-o", "size=\(mebibytes)M", "none", directory.path)
    try #require(outcome.succeeded, "\(outcome.output)")
  }

  deinit { _ = try? ExternalProgram("umount").run("-l", directory.path) }

  func path(_ name: String) -> String { directory.path(name) }
}
