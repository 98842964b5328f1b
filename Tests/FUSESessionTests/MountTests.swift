import FUSESession
import Foundation
import Synchronization
import TestSupport
import Testing

/// Real mounts: they need root, or a /dev/fuse that this user may open.
let canMount = unsafe access("/dev/fuse", R_OK | W_OK) == 0

@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(1)))
struct MountTests {
  @Test func bytesAreReadBackAsWritten() throws {
    let mounted = try Mounted(MemoryTree())
    let file = try HostFile(mounted.file("data"))
    try file.write([1, 2, 3], at: 1000)
    #expect(try file.read(5, at: 999) == [0, 1, 2, 3, 0])
    #expect(try file.read(100, at: 65530).count == 6)
  }

  @Test func aReadOfOneMebibyteIsOneWhole() throws {
    let tree = MemoryTree(size: 3 << 20)
    tree.state.withLock { state in
      for index in state.bytes.indices { state.bytes[index] = UInt8(truncatingIfNeeded: index / 4096) }
    }
    let expected = tree.state.withLock { $0.bytes }
    let mounted = try Mounted(tree)
    #expect(try HostFile(mounted.file("data")).read(3 << 20, at: 0) == expected)
  }

  @Test func directoriesAndSpaceAreToldAsTheyAre() throws {
    let mounted = try Mounted(MemoryTree())
    #expect(try FileManager.default.contentsOfDirectory(atPath: mounted.path).sorted() == MemoryTree.names.sorted())
    var space = statvfs()
    try HostError.check(unsafe statvfs(mounted.path, &space))
    #expect(space.f_blocks == 1000 && space.f_bavail == 300 && space.f_frsize == 4096)
  }

  @Test func timesBefore1970AreToldAsTheyAre() throws {
    let mounted = try Mounted(MemoryTree())
    var status = stat()
    try HostError.check(unsafe stat(mounted.path, &status))
    #expect(status.st_mtim.tv_sec == -1 && status.st_mtim.tv_nsec == 999_999_999)
  }

  @Test func theMountTableNamesTheSource() throws {
    let mounted = try Mounted(MemoryTree()) { $0.isReadOnly = true }
    let table = try String(contentsOfFile: "/proc/mounts", encoding: .utf8)
    let line = table.split(separator: "\n").first { $0.contains(mounted.path) }
    #expect(line?.hasPrefix("a,b\\134c \(mounted.path) fuse.flatcow ro,nosuid,nodev,noexec") == true)
  }

  @Test func namesCannotBeAddedOrTakenAway() throws {
    let mounted = try Mounted(MemoryTree())
    let data = mounted.file("data")
    let new = mounted.file("new")
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe rename(data, new)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe unlink(data)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe link(data, new)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe symlink(data, new)) }
    #expect(throws: HostError(EPERM)) { try HostError.check(unsafe mkdir(new, 0o755)) }
    #expect(throws: HostError(EPERM)) { try HostFile(new, O_RDWR | O_CREAT) }
    #expect(throws: HostError(ENOENT)) { try HostFile(new) }
  }

  @Test func truncatingOpenAsksForSizeZeroAndKeepsTheAnswer() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    try HostFile(mounted.file("data")).write([9], at: 65535)
    let file = try HostFile(mounted.file("data"), O_WRONLY | O_TRUNC)
    let change = tree.state.withLock { $0.changes.last { $0.size != nil } }
    #expect(change?.size == 0 && change?.handle == nil)
    var status = stat()
    try HostError.check(unsafe fstat(file.descriptor, &status))
    #expect(status.st_size == 65536)
    #expect(try HostFile(mounted.file("data")).read(1, at: 65535) == [9])
  }

  @Test func everyOpenIsReleasedOnce() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    for _ in 0..<5 { _ = try HostFile(mounted.file("data")) }
    try mounted.session.unmount()
    try mounted.waitForEnd()
    #expect(tree.state.withLock { $0.releases } == 5)
  }

  @Test func pollWakesWhenNotified() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    let file = try HostFile(mounted.file("events"), O_RDONLY)
    #expect(!file.isReadable(within: 0))
    let waiter = Waiter { file.isReadable(within: -1) }
    // The first answer came without a wish to be notified; the waiter's poll brings one.
    let handle = try #require(eventually { tree.state.withLock { $0.pollHandle } })
    tree.state.withLock { $0.isReady = true }
    handle.notify()
    #expect(waiter.result())
  }

  @Test func aMountOnAMissingDirectoryNamesIt() {
    #expect {
      try FUSESession.mount(at: "/nonexistent/x", options: MountOptions(source: "x"), fileSystem: MemoryTree())
    } throws: { error in
      let error = error as? FUSESessionError
      return error?.code == .mount && error?.errno == ENOENT && error?.path == "/nonexistent/x"
    }
  }

  @Test func aMountOnAFileSaysWhyNot() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data().write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    #expect {
      try FUSESession.mount(at: file.path, options: MountOptions(source: "x"), fileSystem: MemoryTree())
    } throws: { ($0 as? FUSESessionError)?.errno == ENOTDIR }
  }

  @Test func othersAreServedWhile256ReadersAreStuck() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree, threads: 300)
    let held = mounted.file("held")
    let readers = (0..<256).map { _ in Waiter { try? HostFile(held, O_RDONLY).read(16, at: 0).count } }
    try #require(eventually { tree.readersAtGate.load(ordering: .relaxed) == 256 ? () : nil } != nil)
    #expect(try HostFile(mounted.file("data")).read(1, at: 5) == [0])
    for _ in readers { tree.gate.signal() }
    #expect(readers.allSatisfy { $0.result() == 16 })
  }

  @Test func invalidatingSendsDirtyPagesFirst() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    let file = try HostFile(mounted.file("data"))
    try file.write([1, 2, 3], at: 4096)
    mounted.session.invalidateData(of: InodeNumber(2))
    #expect(tree.state.withLock { Array($0.bytes[4096..<4099]) } == [1, 2, 3])
    tree.state.withLock { $0.bytes[4096] = 9 }
    #expect(try file.read(3, at: 4096) == [9, 2, 3])
  }

  @Test(.enabled(if: geteuid() == 0, "only root may mount by mount(2)"))
  func aMountThatSomebodyElseMadeIsServed() throws {
    // The session closes its descriptor when it ends, so this one is not owned by a HostFile.
    let device = unsafe open("/dev/fuse", O_RDWR | O_CLOEXEC)
    let directory = try mount(device)
    defer { remove(directory) }
    let session = try FUSESession.mount(
      at: "/dev/fd/\(device)", options: MountOptions(source: "x"), fileSystem: MemoryTree())
    let server = Waiter { (try? session.run(threads: 4)) != nil }
    #expect(try HostFile(directory + "/data").read(1, at: 0) == [0])
    #expect { try session.unmount() } throws: { ($0 as? FUSESessionError)?.errno == ENOTSUP }
    try HostError.check(unsafe umount2(directory, 0))
    #expect(server.result())
  }

  @Test(.enabled(if: geteuid() == 0, "only root may mount by mount(2)"))
  func aDeadMountInTheWayIsToldWithTheWayOut() throws {
    let directory = try withExtendedLifetime(HostFile("/dev/fuse")) { try mount($0.descriptor) }
    defer { remove(directory) }
    #expect {
      try FUSESession.mount(at: directory, options: MountOptions(source: "x"), fileSystem: MemoryTree())
    } throws: { ($0 as? FUSESessionError)?.reason.contains("umount it first") == true }
  }

  @Test(.enabled(if: geteuid() == 0, "to a user, fusermount3 says it itself"))
  func aContextThatTheKernelRefusesIsNamed() throws {
    #expect {
      try Mounted(MemoryTree()) { $0.context = "no such context" }
    } throws: { error in
      let error = error as? FUSESessionError
      return error?.code == .mount && error?.reason == "mount failed: Invalid argument"
    }
  }

  /// Mounts an open /dev/fuse on a new directory.
  private func mount(_ device: Int32) throws -> String {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("flatcow-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    let data = "fd=\(device),rootmode=40000,user_id=0,group_id=0"
    try HostError.check(unsafe data.withCString { unsafe Glibc.mount("x", directory, "fuse.flatcow", 0, $0) })
    return directory
  }

  private func remove(_ directory: String) {
    unsafe umount2(directory, Int32(MNT_DETACH))
    unsafe rmdir(directory)
  }
}
