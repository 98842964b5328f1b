import FUSESession
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(1)))
struct HeldWriteTests {
  private let tree = MemoryTree()
  private let mounted: Mounted

  init() throws {
    mounted = try Mounted(tree)
    // A handler that does nothing, without SA_RESTART, so that an interrupted write returns.
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(SIGUSR1, &action, nil)
  }

  /// Starts a write to `name` on a thread of its own; its result is the count or the negative error number.
  private func startWrite(_ name: String) -> Waiter<Int> {
    let path = mounted.file(name)
    return Waiter {
      do throws(HostError) {
        return try HostFile(path, O_WRONLY).write([1, 2, 3], at: 0)
      } catch {
        return -Int(error.code)
      }
    }
  }

  private func takeHeld() throws -> HeldWrite {
    try #require(eventually { tree.state.withLock { $0.held.popLast() } })
  }

  @Test func anotherThreadAnswers() throws {
    let writer = startWrite("held")
    let held = try takeHeld()
    #expect(held.succeed(count: 3))
    #expect(writer.result() == 3)
  }

  @Test func onlyTheFirstAnswerCounts() throws {
    let writer = startWrite("held")
    let held = try takeHeld()
    #expect(held.fail(Errno(ESHUTDOWN)))
    #expect(!held.succeed(count: 3))
    #expect(writer.result() == -Int(ESHUTDOWN))
  }

  /// The session has 64 threads, so that a held write that kept one would be noticed.
  @Test func heldWritesKeepNoThread() throws {
    let writers = (0..<100).map { _ in startWrite("held") }
    let held = try writers.map { _ in try takeHeld() }
    try HostFile(mounted.file("data")).write([1, 2, 3], at: 0)
    #expect(try HostFile(mounted.file("data")).read(3, at: 0) == [1, 2, 3])
    for write in held { write.succeed(count: 3) }
    #expect(writers.allSatisfy { $0.result() == 3 })
  }

  @Test func aSignalRunsTheHandlerWhichAnswers() throws {
    let writer = startWrite("held")
    let held = try takeHeld()
    held.onInterrupt { [weak held] in held?.fail(Errno(EINTR)) }
    writer.interrupt(SIGUSR1)
    #expect(writer.result() == -Int(EINTR))
  }

  @Test func aHandlerThatComesAfterTheSignalRunsAtOnce() throws {
    let writer = startWrite("held")
    let held = try takeHeld()
    writer.interrupt(SIGUSR1)
    // The kernel's message is on its way; only a handler could tell when it is here.
    let interrupted = DispatchSemaphore(value: 0)
    held.onInterrupt { interrupted.signal() }
    interrupted.wait()
    let late = DispatchSemaphore(value: 0)
    held.onInterrupt { late.signal() }
    #expect(late.wait(timeout: .now()) == .success)
    held.fail(Errno(EINTR))
    #expect(writer.result() == -Int(EINTR))
  }

  @Test func theTrueOutcomeIsToldAfterASignalThatCameTooLate() throws {
    let writer = startWrite("held")
    let held = try takeHeld()
    let interrupted = DispatchSemaphore(value: 0)
    held.onInterrupt { interrupted.signal() }
    writer.interrupt(SIGUSR1)
    interrupted.wait()
    held.succeed(count: 3)
    #expect(writer.result() == 3)
  }

  @Test func aKilledWriterIsGoneOnceItsInterruptIsAnswered() throws {
    let child = Process()
    child.executableURL = URL(fileURLWithPath: "/bin/sh")
    child.arguments = ["-c", "exec dd if=/dev/zero of='\(mounted.file("held"))' bs=8 count=1 conv=notrunc status=none"]
    try child.run()
    let held = try takeHeld()
    held.onInterrupt { [weak held] in held?.fail(Errno(EINTR)) }
    kill(child.processIdentifier, SIGKILL)
    child.waitUntilExit()
    #expect(child.terminationReason == .uncaughtSignal && child.terminationStatus == SIGKILL)
  }

  /// Interrupts and answers race; whoever wins, the writer gets one answer and the session survives.
  @Test func interruptsAndAnswersMayRace() throws {
    for round in 0..<200 {
      let writer = startWrite("held")
      let held = try takeHeld()
      held.onInterrupt { [weak held] in held?.fail(Errno(EINTR)) }
      let answerer = Waiter {
        if round.isMultiple(of: 2) { usleep(UInt32(round)) }
        return held.succeed(count: 3)
      }
      writer.interrupt(SIGUSR1)
      #expect(writer.result() == (answerer.result() ? 3 : -Int(EINTR)), "round \(round)")
    }
  }

  @Test func aForgottenReplyIsAnError() {
    #expect(startWrite("forgotten").result() == -Int(EIO))
  }

  @Test func aForgottenHeldWriteIsAnError() throws {
    let writer = startWrite("held")
    do { _ = try takeHeld() }
    #expect(writer.result() == -Int(EIO))
  }
}
