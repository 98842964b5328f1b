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
