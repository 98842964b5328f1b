import BackingChain
import HostStorage
import ImageFormat
import StreamJob
import Testing

/// The way from `running` to `pending`, and what is in between.
@Suite(.timeLimit(.minutes(1))) struct StreamingTests {
  @Test func everythingIsPopulatedAndThenTheJobIsPending() {
    let running = RunningJob(FakeTarget(units: 100))
    running.awaitState(.pending)
    #expect(running.target.disk.read { $0.held.isEmpty })
    #expect(running.status.done == running.status.total)
    #expect(running.status.remaining == 0)
    #expect(running.status.copied == FakeTarget.unit * 100)
    #expect(running.status.error.isEmpty)
  }

  @Test func whatOnlyTheBaseHoldsStaysThere() {
    let running = RunningJob(
      FakeTarget(units: 4, held: [0: 0, 1: 1, 3: 1]), StreamOptions(start: .on, base: "/images/1"))
    running.awaitState(.pending)
    #expect(running.target.disk.read { Set($0.held.keys) } == [1, 3])
    #expect(running.status.base == "/images/1")
  }

  @Test func anEmptyDiskIsPendingAtOnce() {
    RunningJob(FakeTarget(units: 0)).awaitState(.pending)
  }

  @Test func chunksEndAtMultiplesOfTheChunkSize() {
    let running = RunningJob(FakeTarget(units: 100, held: Dictionary(uniqueKeysWithValues: (3..<100).map { ($0, 0) })))
    running.awaitState(.pending)
    let ranges = running.target.disk.read { $0.populated }.sorted { $0.start < $1.start }
    #expect(ranges.map(\.start.bytes) == [3 * 65536, 2 << 20, 4 << 20, 6 << 20])
    #expect(ranges.last?.end.bytes == 100 * 65536)
  }

  @Test func twoChunksAreInFlight() {
    let target = FakeTarget(units: 100)
    target.close(.populating)
    let running = RunningJob(target)
    target.awaitArrival(at: .populating, count: 2)
    target.open(.populating)
    running.awaitState(.pending)
  }

  @Test(arguments: [
    (FakeTarget(layers: 0), StreamOptions(start: .on)),
    (FakeTarget(isWritable: false), StreamOptions(start: .on)),
    (FakeTarget(), StreamOptions(start: .off)),
    (FakeTarget(), StreamOptions(start: .on, base: "/images/0")),
  ])
  func noJobIsNeeded(target: FakeTarget, options: StreamOptions) {
    let running = RunningJob(target, options)
    #expect(running.status.state == .idle)
    #expect(running.status.error.isEmpty)
  }

  @Test func aJobThatWasOffIsStartedByAWrite() throws {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .off))
    try running.job.run()
    running.awaitState(.pending)
  }

  @Test func aReadOnlyDiskSaysWhyItCannotBeStarted() {
    let running = RunningJob(FakeTarget(isWritable: false))
    #expect(throws: StreamError.self) { try running.job.run() }
    #expect(running.status.state == .idle)
  }

  @Test func snapshotsThatNeedTheBackingFileAreToldAtTheMount() {
    let target = FakeTarget()
    target.disk.withLock {
      $0.refusal = ChainError(.snapshotsNeedBacking, path: "top", message: "snapshots need it")
    }
    let running = RunningJob(target)
    #expect(running.status.state == .failed)
    #expect(running.status.error == "snapshots need it")
    #expect(target.disk.read { $0.populated.isEmpty })
  }

  @Test func snapshotsMatterOnlyWhereALayerWouldGo() {
    let target = FakeTarget()
    target.disk.withLock {
      $0.refusal = ChainError(.snapshotsNeedBacking, path: "top", message: "snapshots need it")
    }
    let running = RunningJob(target, StreamOptions(start: .on, base: "/images/0"))
    #expect(running.status.state == .idle)
  }

  @Test func aBaseThatIsNotInTheChainFailsTheJobAndNothingElse() throws {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .on, base: "gone"))
    #expect(running.status.state == .failed)
    #expect(running.status.error == "no such layer")
    // Starting it now would flatten the whole chain, which nobody asked for.
    #expect(throws: StreamError.self) { try running.job.run() }
    #expect(running.write("").code == .chain)
    try running.job.setBase(named: [])
    try running.job.run()
    running.awaitState(.pending)
  }

  @Test func anotherBaseIsLookedThroughAgain() throws {
    let running = RunningJob(
      FakeTarget(units: 4, held: [0: 0, 1: 1]), StreamOptions(start: .on, base: "/images/1"))
    running.awaitState(.pending)
    try running.job.setBase(named: [])
    running.awaitState(.pending)
    #expect(running.target.disk.read { $0.held.isEmpty })
    #expect(throws: StreamError.self) { try running.job.setBase(named: Array("gone".utf8)) }
  }

  @Test func whatTheGuestReadsIsPopulatedFirst() {
    let target = FakeTarget(units: 1000)
    target.close(.measuring)
    let running = RunningJob(target)
    target.awaitArrival(at: .measuring)
    running.job.hint(GuestRange(at: GuestOffset(900 * 65536 + 4096), count: 4096))
    running.job.hint(GuestRange(at: GuestOffset(900 * 65536 + 8192), count: 4096))
    target.open(.measuring)
    running.awaitState(.pending)
    let ranges = target.disk.read { $0.populated }
    #expect(ranges.first == GuestRange(at: GuestOffset(900 * 65536), count: 65536))
    #expect(ranges.filter { $0.count == 65536 }.count == 1)
  }

  @Test func aStateIsToldWithoutWaitingForAWorkerThatHangs() throws {
    let target = FakeTarget(units: 100)
    target.close(.populating)
    let running = RunningJob(target)
    target.awaitArrival(at: .populating, count: 2)
    #expect(running.status.state == .running)
    try running.job.cancel()
    #expect(running.status.state == .cancelled)
    try running.job.run()
    #expect(running.status.state == .running)
    target.open(.populating)
    running.awaitState(.pending)
  }

  @Test func whatALateWorkerBringsChangesNothing() throws {
    let target = FakeTarget(units: 100)
    target.disk.withLock { $0.failures[.populating] = [.unreadable, .unreadable] }
    target.close(.populating)
    let running = RunningJob(target, StreamOptions(start: .on, onError: .report))
    target.awaitArrival(at: .populating, count: 2)
    try running.job.cancel()
    target.open(.populating)
    _ = running.job.shutDown(patience: .seconds(10))
    #expect(running.status.state == .cancelled)
    #expect(running.status.error.isEmpty)
  }

  @Test func pauseHoldsTheJobAndResumeLetsItGoOn() throws {
    let running = RunningJob(FakeTarget(units: 100), StreamOptions(start: .paused))
    #expect(running.status.state == .paused)
    #expect(running.status.pause.byUser)
    try running.job.pause()
    #expect(running.target.disk.read { $0.populated.isEmpty })
    try running.job.run()
    running.awaitState(.pending)
    try running.job.run()
    #expect(running.status.state == .pending)
  }

  @Test func remainingIsKnownWhileTheJobIsPaused() {
    let target = FakeTarget(units: 100, held: [1: 0, 50: 1])
    target.close(.measuring)
    let running = RunningJob(target, StreamOptions(start: .paused))
    target.awaitArrival(at: .measuring)
    #expect(running.status.remaining == running.status.total)
    target.open(.measuring)
    running.wait { $0.remaining == FakeTarget.unit * 2 }
  }

  @Test func thereIsNothingToPauseWithoutAJob() {
    let running = RunningJob(FakeTarget(), StreamOptions(start: .off))
    #expect(throws: StreamError.self) { try running.job.pause() }
  }

  @Test func cancelIsIdempotent() throws {
    let running = RunningJob(FakeTarget())
    try running.job.cancel()
    try running.job.cancel()
    #expect(running.status.state == .cancelled)
  }

  @Test func shutdownReturnsThoughAWorkerHangs() {
    let target = FakeTarget()
    target.close(.populating)
    let running = RunningJob(target)
    target.awaitArrival(at: .populating)
    #expect(running.job.shutDown(patience: .zero) == false)
    #expect(running.status.state == .cancelled)
    target.open(.populating)
    #expect(running.job.shutDown(patience: .seconds(10)))
    #expect(throws: StreamError.self) { try running.job.run() }
  }
}
