import Foundation
import Glibc
import HostStorage
import TestSupport
import Testing

@testable import flatcow

/// What a supervisor may leave to the processes that it starts, and what must not matter.
@Suite(
  .enabled(if: PlainUser.isPossible, "only root becomes a plain user who may run the built command"),
  .timeLimit(.minutes(5)))
struct InheritedStateTests {
  static let states: [[String]] = [
    ["env", "--ignore-signal=CHLD"],
    ["env", "--ignore-signal=TERM"],
    ["env", "--ignore-signal"],
    ["env", "--block-signal=TERM,INT,HUP,CHLD,USR1,USR2,PIPE,XFSZ"],
    ["env", "--ignore-signal", "--block-signal"],
    ["sh", "-c", "umask 0777; exec \"$@\"", "-"],
    ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "-"],
    ["sh", "-c", "mkdir gone; cd gone; rmdir ../gone; cd ..; exec \"$@\"", "-"],
    ["env", "-i"],
  ]

  /// A plain user's mount is taken away by a child, whose exit has to be heard of.
  @Test(arguments: states)
  func aMountInUseLeavesTheNameSpaceAtOnceAndEndsWithTheLastClose(_ before: [String]) throws {
    let user = try PlainUser()
    let chain = user.chain
    // The pid file is nobody's business here: an umask may keep even its owner from reading it.
    let mounted = try user.run("mount", "-o", "stream=off", "top.qcow2", "mnt", before: before)
    try #require(mounted.succeeded, "\(mounted.output)")
    let subject = try #require(try chain.entry).subject
    let daemon = try #require(AwaitedWord.all().first { $0.subject == subject }).process
    let holder = try user.holdOpen()
    kill(daemon, SIGTERM)
    try chain.waitUntilGone()
    #expect(kill(daemon, 0) == 0, "it serves whoever has the disk open")
    kill(holder.processIdentifier, SIGKILL)
    #expect(hasEnded(daemon))
    #expect(try ExternalProgram("qemu-img").run("check", chain.directory.path("top.qcow2")).succeeded)
  }

  /// nohup(1) is for those who wait for long.
  @Test func aWaitThatIsToSurviveTheTerminalIsNotEndedByItsHangup() throws {
    let chain = try MountedChain()
    try chain.mount("base=base.raw,speed=64K")
    let ended = try ExternalProgram("timeout").run(
      "--preserve-status", "-s", "HUP", "1", "env", "--ignore-signal=HUP", CommandLineTests.flatcow.name, "wait",
      chain.mountpoint, "--timeout", "2")
    #expect(ended.status == 4, "\(ended.output)")
  }
}
