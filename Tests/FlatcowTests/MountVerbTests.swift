import Foundation
import Glibc
import TestSupport
import Testing

@testable import flatcow

/// The verbs, run against a real mount.
@Suite(
  .enabled(if: MountedChain.isPossible, "/dev/fuse cannot be opened: `make deps` as root"), .timeLimit(.minutes(5)))
struct MountVerbTests {
  let chain: MountedChain

  init() throws { chain = try MountedChain() }

  /// 64 KiB a second: a job that does not end by itself.
  private let slowly = "base=base.raw,speed=64K"

  @Test func aFinishedLayerCanBeDeleted() throws {
    try chain.mount("base=base.raw")
    #expect(try Data(contentsOf: URL(filePath: "\(chain.mountpoint)/disk")) == Data(chain.expected))
    #expect(try chain.run("finish", chain.mountpoint).status == 0)
    #expect(try chain.text("control") == "base.raw\n")
    try FileManager.default.removeItem(atPath: chain.directory.path("mid.qcow2"))
    #expect(try chain.run("umount", chain.mountpoint).status == 0)
    #expect(!FileManager.default.fileExists(atPath: chain.directory.path("pid")))

    let flat = try chain.directory.file("expected.raw", chain.expected)
    #expect(try ExternalProgram("qemu-img").run("compare", chain.directory.path("top.qcow2"), flat).succeeded)
    #expect(try ExternalProgram("qemu-img").run("check", chain.directory.path("top.qcow2")).succeeded)
  }

  /// In a container, /sys is often read-only.
  private static let maySetLimits =
    ((try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/bdi")) ?? []).contains {
      FileManager.default.isWritableFile(atPath: "/sys/class/bdi/\($0)/max_ratio")
    }

  @Test(.enabled(if: geteuid() == 0 && maySetLimits, "only root may ask the kernel for more"))
  func rootHasTheKernelKeepMoreDirtyPages() throws {
    try chain.mount("stream=off")
    let mount = try #require(try MountTable.flatcowMounts().last { $0.mountpoint == chain.mountpoint })
    let share = try String(contentsOfFile: "/sys/class/bdi/\(mount.device)/max_ratio", encoding: .utf8)
    #expect(share == "10\n")
  }

  @Test func aBackingFileOptionCompletesByItself() throws {
    try chain.mount("base=base.raw,backing-file=")
    #expect(try chain.run("wait", chain.mountpoint).status == 0)
    while try chain.text("stream/state") != "completed\n" { usleep(10_000) }
    #expect(try chain.text("control") == "base.raw\n")
  }

  @Test func aFinishWhoseTimeIsOverIsWithdrawn() throws {
    try chain.mount(slowly)
    let ended = try chain.run("finish", chain.mountpoint, "--timeout", "1")
    #expect(ended.status == 4 && ended.output.contains("withdrawn"))
    #expect(try chain.text("control") == "mid.qcow2\n")
    #expect(try chain.text("stream/state") == "running\n")
  }

  @Test(arguments: ["finish", "wait"])
  func anInterruptEndsWaiting(verb: String) throws {
    try chain.mount(slowly)
    #expect(try chain.interrupt(verb, by: "INT").status == 130)
    #expect(try chain.text("control") == "mid.qcow2\n")
  }

  @Test func aStringThatLeadsElsewhereNeedsToBeUnchecked() throws {
    try chain.mount("base=base.raw")
    let refused = try chain.run("finish", chain.mountpoint, "elsewhere.raw")
    #expect(refused.status == 3 && refused.output.contains("--unchecked"))
    #expect(try chain.run("finish", chain.mountpoint, "--unchecked", "elsewhere.raw").status == 0)
    #expect(try chain.text("control") == "elsewhere.raw\n")
  }

  @Test func verbsOfTheJobCanBeRepeated() throws {
    try chain.mount(slowly)
    for (verb, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled"), ("stream", "running")] {
      for _ in 1...2 {
        let ended = try chain.run(verb, chain.mountpoint)
        #expect(ended.status == 0, "\(verb): \(ended.output)")
        #expect(try chain.text("stream/state") == state + "\n")
      }
    }
  }

  @Test func withoutAJobThereIsNothingToPause() throws {
    try chain.mount("stream=off")
    #expect(try chain.run("pause", chain.mountpoint).status == 3)
    #expect(try chain.run("resume", chain.mountpoint).status == 3)
    #expect(try chain.run("cancel", chain.mountpoint).status == 0)
  }

  @Test func aPausedJobIsNotFinished() throws {
    try chain.mount("base=base.raw,stream=paused")
    let ended = try chain.run("finish", chain.mountpoint)
    #expect(ended.status == 3 && ended.output.contains("flatcow resume"))
    #expect(try chain.run("wait", chain.mountpoint, "--timeout", "1").status == 4)
  }

  @Test func speedAndStatusTellTheSame() throws {
    try chain.mount(slowly)
    #expect(try chain.run("speed", chain.mountpoint, "3M").status == 0)
    #expect(try chain.text("stream/speed") == "\(3 << 20)\n")
    #expect(try chain.run("status", chain.mountpoint).output.contains("3.0 MiB/s"))
    #expect(try chain.run("status", "--json", chain.mountpoint).output.contains("\"speed\": \(3 << 20)"))
    #expect(try chain.run("speed", chain.mountpoint, "fast").status == 1)
  }

  @Test func whoUsesTheDiskIsNamed() throws {
    try chain.mount("stream=off")
    let open = try FileHandle(forReadingFrom: URL(filePath: "\(chain.mountpoint)/disk"))
    let busy = try chain.run("umount", chain.mountpoint)
    #expect(busy.status == 2 && busy.output.contains("(\(getpid()))"))

    let daemon = try chain.daemon
    #expect(try chain.run("umount", "--lazy", chain.mountpoint).status == 0)
    #expect(try open.read(upToCount: 1) == Data([0xBA]))
    try open.close()
    chain.waitForEnd(of: daemon)
  }

  @Test func aDeadMountIsShownAndReplaced() throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    kill(daemon, SIGKILL)
    chain.waitForEnd(of: daemon)
    #expect(try chain.run("status", chain.mountpoint).status == 2)
    #expect(try chain.run("list").output.contains("\(chain.mountpoint): does not answer"))
    #expect(try chain.run("metrics").output.contains("flatcow_up{mountpoint=\"\(chain.mountpoint)\"} 0"))
    try chain.mount("stream=off")
    #expect(try chain.run("list").output.contains("\(chain.mountpoint): idle"))
  }

  @Test func aMountpointIsUsedOnce() throws {
    try chain.mount("stream=off")
    let second = try chain.run("mount", "top.qcow2", chain.mountpoint)
    #expect(second.status == 2 && second.output.contains("mounted here already"))
  }

  @Test func signalsSpeakToTheDaemon() throws {
    try chain.mount(slowly)
    let daemon = try chain.daemon
    kill(daemon, SIGHUP)
    kill(daemon, SIGUSR1)
    #expect(try chain.text("stream/state") == "running\n")
    kill(daemon, SIGTERM)
    chain.waitForEnd(of: daemon)
    #expect(try chain.run("status", chain.mountpoint).status == 2)
    #expect(try ExternalProgram("qemu-img").run("check", chain.directory.path("top.qcow2")).succeeded)
  }

  @Test func aSecondSignalDoesNotWaitForTheLastClose() throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    let open = try FileHandle(forUpdating: URL(filePath: "\(chain.mountpoint)/disk"))
    try open.write(contentsOf: Data("written".utf8))
    try open.synchronize()
    kill(daemon, SIGTERM)
    while try chain.run("list").output.contains(chain.mountpoint) { usleep(10_000) }
    kill(daemon, SIGTERM)
    chain.waitForEnd(of: daemon)
    try? open.close()

    let image = chain.directory.path("top.qcow2")
    #expect(try ExternalProgram("qemu-img").run("check", image).status != 2)
    #expect(try ExternalProgram("qemu-io").run("-c", "read -v 0 7", image).output.contains("written"))
  }

  @Test func anImageIsNeverWrittenWithMessagesForClosedDescriptors() throws {
    let script =
      #""$0" mount -o stream=off top.qcow2 mnt <&- >&- 2>&- && printf guest | dd of=mnt/disk conv=notrunc,fsync"#
    let mounted = try ExternalProgram("timeout").run(
      "60", "sh", "-c", script, CommandLineTests.flatcow.name, in: chain.directory.url)
    #expect(mounted.succeeded, "\(mounted.output)")
    #expect(try chain.run("umount", chain.mountpoint).status == 0)
    let image = chain.directory.path("top.qcow2")
    #expect(try ExternalProgram("qemu-img").run("check", image).succeeded)
    #expect(try ExternalProgram("qemu-io").run("-c", "read -v 0 5", image).output.contains("guest"))
  }

  @Test func inTheForegroundItEndsWithTheMount() throws {
    let script = """
      "$0" mount -f -o stream=off top.qcow2 mnt & until mountpoint -q mnt; do sleep 0.05; done
      "$0" umount mnt && wait $!
      """
    let ended = try ExternalProgram("timeout").run(
      "60", "sh", "-c", script, CommandLineTests.flatcow.name, in: chain.directory.url)
    #expect(ended.status == 0, "\(ended.output)")
  }

  @Test func anOptionAboutTheJobNeverFailsTheMount() throws {
    try chain.mount("base=nowhere.raw")
    #expect(try chain.text("stream/state") == "failed\n")
    #expect(try chain.text("stream/error").contains("nowhere.raw"))
    #expect(try chain.run("wait", chain.mountpoint).status == 3)
  }

  @Test func theHelpersOfMountHaveItsExitCodes() throws {
    for helper in ["mount.flatcow", "umount.flatcow"] {
      let link = chain.directory.path(helper)
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: CommandLineTests.flatcow.name)
    }
    let mount = ExternalProgram(chain.directory.path("mount.flatcow"))
    let umount = ExternalProgram(chain.directory.path("umount.flatcow"))
    let image = chain.directory.path("top.qcow2")
    #expect(try mount.run().status == 1)
    #expect(try mount.run(image, chain.mountpoint, "-o", "rw,nonsense").status == 1)
    #expect(try mount.run("/nowhere.qcow2", chain.mountpoint, "-o", "rw").status == 32)
    // A fake mount mounts nothing.
    #expect(try mount.run(image, chain.mountpoint, "-sf", "-o", "rw").status == 0)
    #expect(try umount.run(chain.mountpoint).status == 32)
    #expect(try mount.run(image, chain.mountpoint, "-n", "-o", "rw,nofail,stream=off").status == 0)
    #expect(try umount.run(image, "-v").status == 0)
  }
}
