import BackingChain
import HostStorage
import ImageFormat
import StreamJob
import Testing

/// `on-error`, with QEMU's meaning, and `min-free`.
@Suite(.timeLimit(.minutes(1))) struct ErrorPolicyTests {
  /// One bad unit in the second chunk.
  private func badTarget(_ error: ChainError) -> FakeTarget {
    let target = FakeTarget(units: 100)
    target.disk.withLock { $0.badUnits[40] = error }
    return target
  }

  @Test(arguments: [ErrorPolicy.report, .enospc]) func aReadErrorFailsTheJob(policy: ErrorPolicy) {
    let running = RunningJob(badTarget(.unreadable), StreamOptions(start: .on, onError: policy))
    running.awaitState(.failed)
    #expect(running.status.error == ChainError.unreadable.message)
  }

  @Test func ignoreGoesOnToTheEndAndFailsThereWithTheFirstError() {
    let target = badTarget(.unreadable)
    target.disk.withLock { $0.badUnits[99] = .full }
    var options = StreamOptions(start: .on, onError: .ignore)
    options.workers = 1
    let running = RunningJob(target, options)
    running.awaitState(.failed)
    #expect(running.status.error == ChainError.unreadable.message)
    #expect(running.status.done == running.status.total)
    #expect(target.disk.read { !$0.held.keys.contains { $0 < 32 || $0 >= 64 && $0 < 96 } })
  }

  @Test func ignoreLeavesOutWhatCannotEvenBeLookedUp() {
    let target = FakeTarget(units: 100)
    target.disk.withLock { $0.failures[.scanning] = [.unreadable] }
    let running = RunningJob(target, StreamOptions(start: .on, onError: .ignore))
    running.awaitState(.failed)
    #expect(target.disk.read { $0.held.count } == 32)
  }

  @Test(arguments: [(ErrorPolicy.stop, ChainError.unreadable), (.stop, .full), (.enospc, .full)])
  func stopPausesAndTriesTheSameRangeAgain(policy: ErrorPolicy, error: ChainError) throws {
    let target = badTarget(error)
    let running = RunningJob(target, StreamOptions(start: .on, onError: policy))
    running.awaitState(.paused)
    #expect(running.status.pause.error?.message == error.message)
    #expect(!running.status.pause.byUser)
    #expect(running.status.error == error.message)
    #expect(running.status.done <= FakeTarget.unit * 40)
    // As long as it is bad, it pauses again.
    try running.job.run()
    running.awaitState(.paused)
    target.disk.withLock { $0.badUnits = [:] }
    try running.job.run()
    running.awaitState(.pending)
    #expect(running.status.error.isEmpty)
    #expect(target.disk.read { $0.held.isEmpty })
  }

  @Test func aLookUpThatFailedIsMadeAgain() throws {
    let target = FakeTarget()
    target.disk.withLock { $0.failures[.scanning] = [.unreadable] }
    let running = RunningJob(target, StreamOptions(start: .on, onError: .stop))
    running.awaitState(.paused)
    try running.job.run()
    running.awaitState(.pending)
    #expect(target.disk.read { $0.held.isEmpty })
  }

  @Test func anErrorPauseCanBeCancelled() throws {
    let running = RunningJob(badTarget(.full))
    running.awaitState(.paused)
    try running.job.cancel()
    #expect(running.status.state == .cancelled)
    #expect(running.status.pause.isEmpty)
  }

  @Test func theJobIsTriedAgainAfterItFailed() throws {
    let target = badTarget(.unreadable)
    let running = RunningJob(target)
    running.awaitState(.failed)
    target.disk.withLock { $0.badUnits = [:] }
    try running.job.run()
    running.awaitState(.pending)
    #expect(running.status.error.isEmpty)
  }

  @Test func anErrorOfAHintIsLeftToThePass() {
    let target = badTarget(.unreadable)
    target.close(.measuring)
    let running = RunningJob(target, StreamOptions(start: .on, onError: .ignore))
    running.job.hint(GuestRange(at: GuestOffset(40 * 65536), count: 4096))
    target.open(.measuring)
    running.awaitState(.failed)
    #expect(running.status.done == running.status.total)
  }

  @Test func aShortageOfSpacePausesUntilItIsOver() {
    let target = FakeTarget(units: 100)
    target.disk.withLock { $0.free = 10 }
    let running = RunningJob(target, StreamOptions(start: .on, minimumFree: .percent(5)))
    running.awaitState(.paused)
    #expect(running.status.pause.space?.wanted == 50_000_000)
    #expect(running.status.error.contains("min-free"))
    #expect(target.disk.read { $0.populated.isEmpty })
    target.disk.withLock { $0.free = 60_000_000 }
    running.awaitState(.pending)
    #expect(running.status.error.isEmpty)
  }

  @Test func aShortageOfSpaceDoesNotHoldAJobThatCopiesNothing() {
    let target = FakeTarget(units: 100, held: [:])
    target.disk.withLock { $0.free = 0 }
    RunningJob(target, StreamOptions(start: .on, minimumFree: .bytes(1))).awaitState(.pending)
  }

  @Test func aPersonsPauseOutlivesAShortage() throws {
    let target = FakeTarget(units: 100)
    target.disk.withLock { $0.free = 0 }
    let running = RunningJob(target, StreamOptions(start: .on, minimumFree: .bytes(1)))
    running.awaitState(.paused)
    try running.job.pause()
    target.disk.withLock { $0.free = 1 }
    running.wait { $0.pause.space == nil }
    #expect(running.status.state == .paused)
    try running.job.run()
    running.awaitState(.pending)
  }
}
