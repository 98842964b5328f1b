import BackingChain
import DiskExport
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// How a mount ends.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct EndingTests {
  let images: Images
  let top: String

  init() throws {
    images = try Images()
    top = try images.qcow2("top.qcow2")
  }

  private func isLocked() throws -> Bool {
    !(try ExternalProgram("qemu-io").run("-f", "qcow2", "-c", "write 0 512", top).succeeded)
  }

  @Test func anUnmountEndsItAndUnlocksTheImage() throws {
    let mount = try TestMount(top)
    #expect(try isLocked())
    #expect(try shell("umount $MNT", in: mount).succeeded)
    #expect(try mount.awaitEnd().isClean)
    #expect(!(try isLocked()))
  }

  @Test func aDiskThatIsOpenIsNotUnmounted() throws {
    let mount = try TestMount(top)
    let disk = try HostFile(mount.path("disk"))
    #expect(try shell("umount $MNT", in: mount).output.contains("busy"))
    #expect(try disk.read(1, at: 0) == [0])
  }

  @Test func aDiskThatIsOpenIsServedUntilTheLastClose() throws {
    let mount = try TestMount(top)
    do {
      let disk = try HostFile(mount.path("disk"))
      mount.disk.end()
      #expect(!FileManager.default.fileExists(atPath: mount.path("disk")))
      try disk.write([UInt8](repeating: 6, count: 100_000), at: 65_000)
      #expect(try disk.read(1, at: 65_000) == [6])
      #expect(!mount.hasEnded)
    }
    #expect(try mount.awaitEnd().isClean)
    #expect(try images.contents("top.qcow2")[65_000..<165_000].allSatisfy { $0 == 6 })
    #expect(try images.isClean("top.qcow2"))
  }

  @Test func givingUpKeepsWhatWasWritten() throws {
    let mount = try TestMount(top)
    let disk = try HostFile(mount.path("disk"))
    try disk.write([6], at: 65_000)
    mount.disk.end()
    #expect(mount.disk.giveUp().isClean)
    #expect(try images.contents("top.qcow2")[65_000] == 6)
  }

  @Test func aFailedMountLeavesTheChainUsable() throws {
    let opened = try ChainOpener.open(path: top, options: ChainOptions())
    let chain = BackingChain(layers: opened.layers, active: opened.active)
    #expect(throws: (any Error).self) {
      try MountedDisk(chain: chain, options: ExportOptions(mountPoint: images.path("none"), source: top) { _ in })
    }
    try chain.close()
  }
}
