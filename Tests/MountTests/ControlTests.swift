import DiskExport
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// `control`: who writes waits, and gets the outcome.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct ControlTests {
  let images: Images
  let top: String

  init() throws {
    images = try Images()
    try images.raw("base.raw", [UInt8](repeating: 7, count: 1 << 20))
    try images.qcow2("mid.qcow2", over: "base.raw")
    try images.fill("mid.qcow2", 2 << 20..<3 << 20, with: 8)
    top = try images.qcow2("top.qcow2", over: "mid.qcow2")
  }

  /// A mount whose job comes to no end by itself.
  private func slowMount() throws -> TestMount {
    try TestMount(top) { options in
      options.job.start = .on
      options.job.speed = 1
    }
  }

  /// The error number of a write; 0: it succeeded.
  private func write(_ text: String, to mount: TestMount, _ flags: Int32 = O_WRONLY, at offset: Int = 0) -> Int32 {
    do {
      try HostFile(mount.path("control"), flags).write(Array(text.utf8), at: offset)
      return 0
    } catch {
      return error.code
    }
  }

  /// A writer that waits, once the job knows of it.
  private func waitingWriter(_ text: String, _ mount: TestMount) -> Waiter<Int32> {
    let writer = Waiter { write(text, to: mount) }
    #expect(eventually { mount.disk.job.status.armed == Array(text.utf8.dropLast()) ? true : nil } == true)
    return writer
  }

  private func backing(_ name: String) throws -> String? {
    let info = try ExternalProgram("qemu-img").run("info", "-U", "--output=json", images.path(name))
    let object = try JSONSerialization.jsonObject(with: Data(info.output.utf8)) as? [String: Any]
    return object?["backing-filename"] as? String
  }

  @Test func itShowsTheRecordedString() throws {
    let mount = try TestMount(top)
    #expect(try mount.text("control") == "mid.qcow2\n")
  }

  @Test func theEmptyLineFlattensTheChain() throws {
    let before = try images.contents("top.qcow2")
    let mount = try TestMount(top)
    #expect(write("\n", to: mount) == 0)
    // Done when the write returns: no mount is needed to see it.
    #expect(try backing("top.qcow2") == nil)
    #expect(try mount.text("control") == "\n")
    #expect(try mount.text("stream/state") == "completed\n")
    #expect(try mount.text("chain") == "0 qcow2 \(images.size) \(top)\n")
    #expect(try HostFile(mount.path("disk"), O_RDONLY).read(images.size, at: 0) == before)
    #expect(try mount.end().isClean)
    #expect(try images.contents("top.qcow2") == before)
    #expect(try images.isClean("top.qcow2"))
  }

  @Test func aStringKeepsTheLayerThatItNames() throws {
    let mount = try TestMount(top)
    #expect(write("base.raw\n", to: mount) == 0)
    #expect(try backing("top.qcow2") == "base.raw")
    #expect(try mount.text("control") == "base.raw\n")
  }

  @Test func aSecondWriterIsTurnedAwayAtOnceAndReadersAreNot() throws {
    let mount = try slowMount()
    let first = waitingWriter("\n", mount)
    #expect(write("base.raw\n", to: mount) == EBUSY)
    #expect(try mount.text("control") == "mid.qcow2\n")
    #expect(try mount.text("stream/state") == "running\n")
    #expect(try shell("stat $MNT/control", in: mount).succeeded)
    try mount.disk.job.cancel()
    #expect(first.result() == ECANCELED)
  }

  @Test func theSameStringJoinsTheWriterThatWaits() throws {
    let mount = try slowMount()
    let first = waitingWriter("\n", mount)
    let second = Waiter { write("\n", to: mount) }
    mount.disk.job.setSpeed(0)
    #expect(first.result() == 0)
    #expect(second.result() == 0)
  }

  @Test func aSignalWithdrawsIt() throws {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(SIGUSR1, &action, nil)
    let mount = try slowMount()
    let writer = waitingWriter("\n", mount)
    writer.interrupt(SIGUSR1)
    #expect(writer.result() == EINTR)
    #expect(mount.disk.job.status.armed == nil)
    #expect(mount.disk.job.status.state == .running)
  }

  @Test func anUnmountAnswersTheWriterThatWaits() throws {
    let mount = try slowMount()
    let writer = waitingWriter("\n", mount)
    mount.disk.end()
    #expect(writer.result() == ESHUTDOWN)
    #expect(try mount.awaitEnd().isClean)
    #expect(try backing("top.qcow2") == "mid.qcow2")
  }

  @Test func withoutWaitingItIsArmed() throws {
    let mount = try slowMount()
    #expect(write("base.raw\n", to: mount, O_WRONLY | O_NONBLOCK) == 0)
    #expect(mount.disk.job.status.armed == Array("base.raw".utf8))
    mount.disk.job.setSpeed(0)
    #expect(eventually { mount.disk.job.status.state == .completed ? true : nil } == true)
    #expect(try backing("top.qcow2") == "base.raw")
  }

  @Test func aPausedJobTurnsAWriterAwayUnlessItDoesNotWait() throws {
    let mount = try slowMount()
    try mount.disk.job.pause()
    #expect(write("\n", to: mount) == EBUSY)
    #expect(write("\n", to: mount, O_WRONLY | O_NONBLOCK) == 0)
    #expect(mount.disk.job.status.armed == [])
  }

  @Test func whatCannotBeRecordedIsSaidAtOnceAndChangesNothing() throws {
    let mount = try slowMount()
    #expect(write("no-such-layer\n", to: mount) == EINVAL)
    #expect(write("a\0b\n", to: mount) == EINVAL)
    #expect(write("\(top)\n", to: mount) == EINVAL)
    #expect(write(String(repeating: "x", count: 1024) + "\n", to: mount) == ENAMETOOLONG)
    #expect(write(String(repeating: "x", count: 2 << 20), to: mount) == ENAMETOOLONG)
    #expect(write("base.raw\n", to: mount, at: 1) == EINVAL)
    #expect(mount.disk.job.status.armed == nil)
    #expect(try mount.text("control") == "mid.qcow2\n")
  }

  @Test func othersMayNotCompleteThoughTheyMayUseTheDisk() throws {
    guard geteuid() == 0 else { return }
    let mount = try TestMount(top) { options in
      options.allowsOthers = true
      options.permissions = 0o666
    }
    let nobody = "setpriv --reuid=65534 --clear-groups sh -c"
    #expect(try shell("\(nobody) 'head -c1 $MNT/disk'", in: mount).succeeded)
    #expect(try shell("\(nobody) 'echo > $MNT/control'", in: mount).output.contains("Permission denied"))
    #expect(try shell("\(nobody) 'echo cancelled > $MNT/stream/state'", in: mount).output.contains("Permission denied"))
    #expect(try shell("\(nobody) 'cat $MNT/stream/state'", in: mount).output == "idle\n")
  }
}
