import FUSESession
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct UnmountTests {
  /// The kernel sends what close(2) finds dirty; with a descriptor that is still open, that is after the unmount.
  @Test func dirtyPagesArriveAfterALazyUnmount() throws {
    let pattern = (0..<4 << 20).map { UInt8(truncatingIfNeeded: $0 >> 12 ^ $0) }
    let tree = MemoryTree(size: pattern.count)
    let mounted = try Mounted(tree)
    do {
      let file = try HostFile(mounted.file("data"))
      try file.write(pattern, at: 0)
      try mounted.session.unmount(lazy: true)
    }
    try mounted.waitForEnd()
    #expect(tree.state.withLock { $0.bytes == pattern && $0.writebacks > 0 })
  }

  @Test func withoutWritebackNothingArrivesLate() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree) { $0.usesWriteback = false }
    let file = try HostFile(mounted.file("data"))
    try file.write([1, 2], at: 0)
    #expect(tree.state.withLock { Array($0.bytes.prefix(2)) } == [1, 2])
    #expect(tree.state.withLock { $0.writebacks } == 0)
  }

  @Test func aFileInUseIsBusyAndIsServedOn() throws {
    let mounted = try Mounted(MemoryTree())
    let file = try HostFile(mounted.file("data"))
    #expect {
      try mounted.session.unmount()
    } throws: { ($0 as? FUSESessionError)?.code == .busy }
    try file.write([5], at: 7)
    #expect(try HostFile(mounted.file("data")).read(1, at: 7) == [5])
  }

  @Test func aLazyUnmountIsServedUntilTheLastClose() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    do {
      let file = try HostFile(mounted.file("data"))
      try mounted.session.unmount(lazy: true)
      #expect(throws: HostError(ENOENT)) { try HostFile(mounted.file("data")) }
      #expect(!mounted.isEnded)
      try file.write([5], at: 7)
      #expect(try file.read(1, at: 8000) == [0])
    }
    try mounted.waitForEnd()
    #expect(tree.state.withLock { $0.bytes[7] } == 5)
  }

  @Test(.enabled(if: geteuid() == 0, "only root may mount fusectl"))
  func aHeldWriteMayBeAnsweredAfterTheEnd() throws {
    let tree = MemoryTree()
    var mounted: Mounted? = try Mounted(tree)
    let path = try #require(mounted?.file("held"))
    let writer = Waiter { (try? HostFile(path, O_WRONLY).write([1], at: 0)) ?? -1 }
    let held = try #require(eventually { tree.state.withLock { $0.held.popLast() } })
    try abortConnection(of: #require(mounted?.path))
    try mounted?.waitForEnd()
    mounted = nil
    #expect(writer.result() == -1)
    #expect(held.succeed(count: 1))
  }

  @Test(.enabled(if: geteuid() == 0, "only root may mount fusectl"))
  func anAbortedConnectionLeavesNoDeadMount() throws {
    let mounted = try Mounted(MemoryTree())
    try abortConnection(of: mounted.path)
    try mounted.waitForEnd()
    var status = stat()
    try HostError.check(unsafe stat(mounted.path, &status))
    #expect(try FileManager.default.contentsOfDirectory(atPath: mounted.path).isEmpty)
  }

  /// Ends a connection by the kernel's control file system for FUSE, mounted for the moment where it is not.
  private func abortConnection(of path: String) throws {
    var status = stat()
    try HostError.check(unsafe stat(path, &status))
    let number = (status.st_dev >> 12 & ~0xff) | (status.st_dev & 0xff)
    let control = FileManager.default.temporaryDirectory.appendingPathComponent("fusectl-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: control, withIntermediateDirectories: false)
    defer { unsafe rmdir(control) }
    try HostError.check(unsafe mount("none", control, "fusectl", 0, nil))
    defer { unsafe umount2(control, Int32(MNT_DETACH)) }
    try Data("1".utf8).write(to: URL(fileURLWithPath: "\(control)/\(number)/abort"))
  }
}
