import Foundation
import Glibc
import HostStorage
import TestSupport
import Testing

@Suite struct HostProcessTests {
  @Test func aProgramsExitCodeIsItsAnswer() throws {
    #expect(try HostProcess.run("/bin/sh", ["-c", "exit 7"]) == 7)
    #expect(try HostProcess.run("/bin/sh", ["-c", "kill -KILL $$"]) == 128 + 9)
  }

  @Test func aProgramThatIsNotThereIsAnError() throws {
    let error = try #require(throws: StorageError.self) { try HostProcess.run("/nowhere/program", []) }
    #expect(error.errno == ENOENT)
  }

  @Test func becomingAnIOFlusherTakesAPrivilegeAndIsNeverFatal() throws {
    let capabilities = try String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8)
    let effective = try #require(capabilities.firstMatch(of: /CapEff:\s*([0-9a-f]+)/)?.1)
    let mayDoSo = try #require(UInt64(effective, radix: 16)) & 1 << 24 != 0
    // On a thread of its own: the threads that it starts would inherit it.
    #expect(Waiter { HostProcess.becomeIOFlusher() }.result() == mayDoSo)
  }

  @Test func theEndOfAProcessIsSeen() throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", "read line; exit 7"]
    let input = Pipe()
    process.standardInput = input
    try process.run()
    guard let watched = WatchedProcess(id: process.processIdentifier) else {
      Issue.record("the process is not found")
      return
    }
    let hadEndedBefore = watched.hasEnded(within: 0)
    try input.fileHandleForWriting.close()
    let hasEndedAfter = watched.hasEnded(within: -1)
    #expect(!hadEndedBefore && hasEndedAfter)

    // Older kernels never tell, newer ones once the parent knows.
    process.waitUntilExit()
    let code = watched.exitCode
    #expect(code == nil || code == 7)
  }

  @Test func aBlockedCallCanBeInterrupted() throws {
    let directory = try TemporaryDirectory()
    let pipe = directory.path("pipe")
    try ExternalProgram("mkfifo").run(pipe)
    // Opening the pipe blocks: nobody reads it.
    let call = try InterruptibleCall { () throws(StorageError) in try TextFile.write("x", to: pipe) }
    #expect(call.outcome(within: .milliseconds(10)) == nil)
    guard case .failure(let error) = call.interrupt() else {
      Issue.record("the call was not interrupted")
      return
    }
    #expect(error.errno == EINTR)
  }
}

@Suite struct TextFileTests {
  @Test func whatIsWrittenIsRead() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path("value")
    try TextFile.create(path, "running\n")
    #expect(try TextFile.read(path) == "running\n")
    try TextFile.write("paused\n", to: path)
    #expect(try TextFile.read(path) == "paused\n\n")
    TextFile.remove(path)
    #expect(throws: StorageError.self) { try TextFile.write("x", to: path) }
  }
}
