import BackingChain
import HostStorage
import ImageFormat
import Testing

@testable import StreamJob

/// Writing `control`.
@Suite(.timeLimit(.minutes(1))) struct CompletionTests {
  private func names(_ running: RunningJob<FakeTarget>) -> [String?] {
    running.target.disk.read { $0.completed }.map { plan in
      plan.backing.map { String(decoding: $0.name, as: UTF8.self) }
    }
  }

  @Test func aWriteReturnsWhenTheHeaderIsDurable() throws {
    let target = FakeTarget(units: 100)
    target.close(.completing)
    let running = RunningJob(target)
    let request = running.request("")
    target.awaitArrival(at: .completing)
    #expect(running.status.state == .finishing)
    #expect(!request.isAnswered)
    target.open(.completing)
    try request.outcome.get()
    #expect(running.status.state == .completed)
    #expect(names(running) == [nil])
    #expect(target.disk.read { $0.violations } == [])
  }

  @Test func aStringWithABaseIsRecordedVerbatim() throws {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .on, base: "/images/1"))
    try running.write("nbd://elsewhere/base").get()
    #expect(names(running) == ["nbd://elsewhere/base"])
  }

  @Test func aStringWithoutABaseNamesOne() throws {
    let target = FakeTarget(units: 4, held: [0: 0, 1: 1])
    let running = RunningJob(target, StreamOptions(start: .paused))
    try running.job.pause()
    #expect(running.write("/images/1", blocking: false).code == nil)
    #expect(running.status.base == "/images/1")
    try running.job.run()
    running.awaitState(.completed)
    #expect(target.disk.read { Set($0.held.keys) } == [1])
    #expect(running.target.disk.read { $0.completed.first?.base } === target.layers[1])
    // It was the base of that completion only.
    #expect(running.status.base == nil)
  }

  @Test func aStringThatNamesNoLayerChangesNothing() {
    let running = RunningJob()
    running.awaitState(.pending)
    #expect(running.write("gone").code == .chain)
    #expect(running.status.state == .pending)
    #expect(running.status.error == "no such layer")
    #expect(running.status.armed == nil)
  }

  @Test func aBaseChosenLateIsLookedThroughAgain() throws {
    let target = FakeTarget(units: 4, held: [0: 0, 1: 1])
    let running = RunningJob(target, StreamOptions(start: .on, base: "/images/1"))
    running.awaitState(.pending)
    try running.job.setBase(named: [])
    try running.write("").get()
    #expect(target.disk.read { $0.violations } == [])
    #expect(target.disk.read { $0.held.isEmpty })
  }

  @Test(arguments: [JobState.idle, .failed, .cancelled, .completed]) func aWriteStartsAJob(state: JobState) throws {
    let target = FakeTarget()
    let running = RunningJob(target, StreamOptions(start: state == .idle ? .off : .paused))
    switch state {
    case .cancelled: try running.job.cancel()
    case .failed:
      target.disk.withLock { $0.failures[.scanning] = [.unreadable] }
      try running.job.run()
    case .completed:
      try running.job.run()
      try running.write("").get()
    default: break
    }
    running.awaitState(state)
    try running.write("").get()
    #expect(running.status.state == .completed)
  }

  @Test func pausedByAPersonAWriterIsRefusedAndAnArmedStringWaits() throws {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .paused))
    #expect(running.write("").code == .busy)
    try running.write("", blocking: false).get()
    #expect(running.status.armed == [])
    #expect(running.write("").code == .busy)
    #expect(running.status.state == .paused)
    try running.job.run()
    running.awaitState(.completed)
  }

  @Test func theSameStringJoinsAndAnotherIsBusy() throws {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target)
    let first = running.request("/images/1")
    running.wait { $0.armed != nil }
    let second = running.request("/images/1")
    // A line is worked out by a thread of its own: the second one has joined when both are counted.
    running.job.core.wait { $0.completion?.waiters.count == 2 ? () : nil }
    #expect(running.write("").code == .busy)
    #expect(running.write("", blocking: false).code == .busy)
    #expect(throws: StreamError.self) { try running.job.setBase(named: []) }
    target.open(.populating)
    try first.outcome.get()
    try second.outcome.get()
    #expect(names(running) == ["/images/1"])
  }

  @Test func whatIsOnlyArmedGivesWayToAnotherString() throws {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .paused, backingFile: "/images/1"))
    #expect(running.status.armed == Array("/images/1".utf8))
    try running.write("", blocking: false).get()
    #expect(running.status.armed == [])
    try running.job.run()
    running.awaitState(.completed)
    #expect(names(running) == [nil])
  }

  @Test func theMountsStringCompletesByItself() {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .on, backingFile: "/images/1"))
    running.awaitState(.completed)
    #expect(names(running) == ["/images/1"])
  }

  @Test func aMountsStringThatDoesNotFitFailsTheJobBeforeAnythingIsCopied() {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .on, backingFile: "gone"))
    #expect(running.status.state == .failed)
    #expect(running.status.error == "no such layer")
    #expect(running.target.disk.read { $0.populated.isEmpty })
  }

  @Test func aWriterIsWithdrawnAtOnce() {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target)
    let request = running.request("/images/1")
    running.wait { $0.armed != nil }
    running.job.withdraw(request.ticket)
    #expect(request.outcome.code == .withdrawn)
    #expect(running.status.armed == nil)
    #expect(running.status.base == nil)
    target.open(.populating)
    running.awaitState(.pending)
    #expect(names(running).isEmpty)
  }

  @Test func aWithdrawnStringTakesItsBaseAlong() {
    let target = FakeTarget(units: 4, held: [0: 0, 1: 1])
    target.close(.preparing)
    let running = RunningJob(target, StreamOptions(start: .off))
    let request = running.request("/images/1")
    target.awaitArrival(at: .preparing)
    running.job.withdraw(request.ticket)
    target.open(.preparing)
    running.awaitState(.pending)
    #expect(target.disk.read { $0.held.isEmpty })
  }

  @Test func aWriterIsWithdrawnWhileItsStringIsWorkedOut() {
    let target = FakeTarget()
    target.close(.planning)
    let running = RunningJob(target)
    let request = running.request("")
    target.awaitArrival(at: .planning)
    running.job.withdraw(request.ticket)
    #expect(request.outcome.code == .withdrawn)
    target.open(.planning)
    running.awaitState(.pending)
  }

  @Test func aWriterIsWithdrawnWhileAllIsMadeDurable() {
    let target = FakeTarget()
    target.close(.preparing)
    let running = RunningJob(target)
    let request = running.request("")
    target.awaitArrival(at: .preparing)
    #expect(running.status.state == .finishing)
    running.job.withdraw(request.ticket)
    #expect(request.outcome.code == .withdrawn)
    #expect(running.status.state == .pending)
    target.open(.preparing)
    #expect(names(running).isEmpty)
  }

  @Test func onceTheHeaderIsBeingWrittenTheTrueOutcomeIsTold() throws {
    let target = FakeTarget()
    target.close(.completing)
    let running = RunningJob(target)
    let request = running.request("")
    target.awaitArrival(at: .completing)
    running.job.withdraw(request.ticket)
    #expect(throws: StreamError.self) { try running.job.cancel() }
    #expect(running.job.shutDown(patience: .zero) == false)
    #expect(!request.isAnswered)
    target.open(.completing)
    try request.outcome.get()
    #expect(running.status.state == .completed)
  }

  @Test func oneOfTwoWritersIsWithdrawnAlone() throws {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target)
    let (first, second) = (running.request(""), running.request(""))
    running.wait { $0.armed != nil }
    running.job.withdraw(first.ticket)
    #expect(first.outcome.code == .withdrawn)
    target.open(.populating)
    try second.outcome.get()
  }

  @Test func cancelAnswersTheWriterAndDisarms() throws {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target, StreamOptions(start: .on, backingFile: ""))
    let request = running.request("")
    target.awaitArrival(at: .populating)
    try running.job.cancel()
    #expect(request.outcome.code == .cancelled)
    #expect(running.status.armed == nil)
  }

  @Test func unmountingAnswersTheWriter() {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target)
    let request = running.request("")
    target.awaitArrival(at: .populating)
    _ = running.job.shutDown(patience: .zero)
    #expect(request.outcome.code == .shutDown)
    #expect(running.write("").code == .shutDown)
  }

  @Test func anErrorThatPausesTheJobIsTheWritersAnswer() throws {
    let target = FakeTarget()
    target.disk.withLock { $0.badUnits[3] = .full }
    target.close(.populating)
    let running = RunningJob(target)
    let request = running.request("")
    running.wait { $0.armed != nil }
    target.open(.populating)
    guard case .failure(let error) = request.outcome else { return #expect(Bool(false), "it cannot succeed") }
    #expect(error.cause?.code == .noSpace)
    #expect(running.status.armed == nil)
    // And of the next one, until the job is resumed.
    guard case .failure(let next) = running.write("") else { return #expect(Bool(false), "it cannot succeed") }
    #expect(next.cause?.code == .noSpace)
    // What is armed stays.
    try running.write("", blocking: false).get()
    target.disk.withLock { $0.badUnits = [:] }
    try running.job.run()
    running.awaitState(.completed)
  }

  @Test func anErrorThatFailsTheJobIsTheWritersAnswer() {
    let target = FakeTarget()
    target.disk.withLock { $0.badUnits[3] = .unreadable }
    let running = RunningJob(target, StreamOptions(start: .off))
    guard case .failure(let error) = running.write("") else { return #expect(Bool(false), "it cannot succeed") }
    #expect(error.cause?.code == .storage)
    #expect(running.status.state == .failed)
  }

  @Test(arguments: [FakeTarget.Gate.preparing, .completing])
  func aCompletionThatFailedCanBeAskedForAgain(gate: FakeTarget.Gate) throws {
    let target = FakeTarget()
    target.disk.withLock { $0.failures[gate] = [.changed] }
    let running = RunningJob(target, StreamOptions(start: .on, onError: .stop))
    guard case .failure(let error) = running.write("") else { return #expect(Bool(false), "it cannot succeed") }
    #expect(error.cause?.code == .changed)
    #expect(running.status.state == .failed)
    #expect(running.status.error == ChainError.changed.message)
    #expect(running.status.armed == nil)
    try running.write("").get()
    #expect(names(running) == [nil])
  }

  @Test func anArmedStringOutlivesAFailedCopy() throws {
    let target = FakeTarget()
    target.disk.withLock { $0.badUnits[3] = .unreadable }
    let running = RunningJob(target, StreamOptions(start: .on, backingFile: ""))
    running.awaitState(.failed)
    target.disk.withLock { $0.badUnits = [:] }
    try running.job.run()
    running.awaitState(.completed)
  }

  @Test func theHeaderWaitsForAWorkerThatIsLate() throws {
    let target = FakeTarget(units: 100)
    target.close(.populating)
    let running = RunningJob(target, StreamOptions(start: .on, base: "/images/1"))
    target.awaitArrival(at: .populating, count: 2)
    try running.job.cancel()
    // Nothing is left to do for this base but what the late workers still hold.
    let request = running.request("x")
    target.open(.populating)
    try request.outcome.get()
    #expect(target.disk.read { $0.violations } == [])
  }
}
