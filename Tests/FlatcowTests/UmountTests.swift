import Foundation
import Glibc
import HostStorage
import TestSupport
import Testing

@testable import flatcow

/// What an unmount says of the bytes that were written. It hears it from the process behind the mount, and from nobody else.
@Suite(
  .enabled(if: MountedChain.isPossible, "/dev/fuse cannot be opened: `make deps` as root"), .timeLimit(.minutes(5)))
struct UmountTests {
  /// The ways to unmount and their failure.
  enum Way: CaseIterable, Sendable {
    case verb
    case helper

    var failure: Int32 { self == .verb ? 3 : 32 }
  }

  let chain: MountedChain

  init() throws { chain = try MountedChain() }

  /// Begins to unmount, and returns when nothing is mounted any more; the command may still wait.
  private func startUnmount(_ way: Way = .verb) throws -> Waiter<ExternalProgram.Outcome?> {
    let helper = chain.directory.path("umount.flatcow")
    if way == .helper, !FileManager.default.fileExists(atPath: helper) {
      try FileManager.default.createSymbolicLink(atPath: helper, withDestinationPath: CommandLineTests.flatcow.name)
    }
    let waiter = Waiter { [chain] in
      way == .verb ? try? chain.run("umount", chain.mountpoint) : try? ExternalProgram(helper).run(chain.mountpoint)
    }
    try chain.waitUntilGone()
    return waiter
  }

  @Test(arguments: Way.allCases, ["writeback", "none"])
  func aDaemonThatIsKilledAfterTheUnmountHasNotMadeEverythingDurable(_ way: Way, cache: String) throws {
    try chain.mount("stream=off,cache=\(cache)")
    let daemon = try chain.daemon
    try HostFile("\(chain.mountpoint)/disk").write([1], at: 0)
    // An unmount needs no answer of the process behind the mount: it can be kept from coming to its end.
    kill(daemon, SIGSTOP)
    let unmount = try startUnmount(way)
    kill(daemon, SIGKILL)
    let ended = unmount.result()
    #expect(ended?.status == way.failure)
    #expect(ended?.output.contains("not all of it is durable") == true)
  }

  @Test(arguments: Way.allCases)
  func aDaemonThatHadDiedHasNotMadeEverythingDurable(_ way: Way) throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    kill(daemon, SIGKILL)
    chain.waitForEnd(of: daemon)
    let ended = try startUnmount(way).result()
    #expect(ended?.status == way.failure)
    #expect(ended?.output.contains("has died") == true)
  }

  @Test(arguments: Way.allCases)
  func anUnmountWaitsUntilTheDaemonSaysThatAllIsDurable(_ way: Way) throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    try HostFile("\(chain.mountpoint)/disk").write([1, 2, 3], at: 4096)
    kill(daemon, SIGSTOP)
    let unmount = try startUnmount(way)
    kill(daemon, SIGCONT)
    #expect(unmount.result()?.status == 0)
    #expect(hasEnded(daemon))
    let image = chain.directory.path("top.qcow2")
    #expect(try ExternalProgram("qemu-img").run("check", image).succeeded)
    #expect(try ExternalProgram("qemu-io").run("-c", "read -v 4096 3", image).output.contains("01 02 03"))
  }

  /// Whoever comes second finds nothing mounted, or waits with the first.
  @Test func twoUnmountsAtOnceEndWell() throws {
    for _ in 1...5 {
      try chain.mount("stream=off")
      let unmounts = (1...2).map { _ in Waiter { [chain] in try? chain.run("umount", chain.mountpoint).status } }
      let codes = unmounts.map { $0.result() }
      #expect(codes.contains(0) && Set(codes).isSubset(of: [0, 2]), "\(codes)")
    }
  }

  @Test func anUnmountThatIsKilledLeavesTheRestToTheDaemon() throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    kill(daemon, SIGSTOP)
    let ended = try chain.interrupt("umount", by: "KILL")
    #expect(ended.status != 0)
    kill(daemon, SIGCONT)
    #expect(hasEnded(daemon))
    #expect(try ExternalProgram("qemu-img").run("check", chain.directory.path("top.qcow2")).succeeded)
  }

  /// The kernel gives the number of a device again as soon as the file system is gone, while its process may still be at work.
  @Test func anEarlierMountThatIsAtItsEndConcernsNobodyElse() throws {
    try chain.mount("stream=off")
    let daemon = try chain.daemon
    kill(daemon, SIGSTOP)
    let unmount = try startUnmount()
    try #require(chain.run("create", "other.qcow2", "4M").succeeded)
    for _ in 1...5 {
      try #require(chain.run("mount", "-o", "stream=off", "other.qcow2", chain.mountpoint).succeeded)
      let ended = try chain.run("umount", chain.mountpoint)
      #expect(ended.status == 0, "\(ended.output)")
    }
    kill(daemon, SIGCONT)
    #expect(unmount.result()?.status == 0)
  }

  @Test func aWordThatWasNotSaidToItsEndIsNone() {
    for text in ["", "c", "clea", "cleanclean", "lost", "lost: a disk"] { #expect(LastWords(text).loss != nil) }
    #expect(LastWords("clean").loss == nil)
    #expect(LastWords("lost: a disk").loss == "a disk")
    for text in ["clean", "lost: a disk"] { #expect(LastWords(text).text == text) }
  }
}

/// Mounts of a plain user, by fusermount3.
@Suite(
  .enabled(if: PlainUser.isPossible, "only root becomes a plain user who may run the built command"),
  .timeLimit(.minutes(5)))
struct PlainUserTests {
  let user: PlainUser

  init() throws { user = try PlainUser() }

  @Test(arguments: ["the user", "root"], [false, true])
  func aMountOfAPlainUserTellsHowItEnded(whoUnmounts: String, isKilled: Bool) throws {
    let daemon = try user.mount()
    kill(daemon, SIGSTOP)
    let unmount = Waiter { [user] in
      whoUnmounts == "root" ? try? user.chain.run("umount", user.chain.mountpoint) : try? user.run("umount", "mnt")
    }
    try user.chain.waitUntilGone()
    kill(daemon, isKilled ? SIGKILL : SIGCONT)
    let ended = unmount.result()
    #expect(ended?.status == (isKilled ? 3 : 0), "\(ended?.output ?? "")")
  }

  /// Of a stranger's word nobody is misled.
  @Test(.enabled(if: PlainUser.hasPython, "the plain user has no python3"))
  func aStrangerCannotSayThatAllIsDurable() throws {
    try user.chain.mount("stream=off")
    let subject = try #require(try user.chain.entry).subject
    let script = """
      import fcntl, os, sys, time
      word = os.memfd_create('flatcow-end')
      fcntl.flock(word, fcntl.LOCK_EX)
      os.write(word, sys.argv[1].encode() + b'\\nclean')
      print('said', flush=True)
      time.sleep(60)
      """
    let stranger = try user.start("/usr/bin/python3", "-c", script, subject, saying: "said")
    defer { kill(stranger.processIdentifier, SIGKILL) }
    #expect(AwaitedWord.all().contains { $0.process == stranger.processIdentifier && $0.subject == subject })
    let daemon = try user.chain.daemon
    kill(daemon, SIGKILL)
    user.chain.waitForEnd(of: daemon)
    let ended = try user.chain.run("umount", user.chain.mountpoint)
    #expect(ended.status == 3 && ended.output.contains("has died"), "\(ended.output)")
  }
}
