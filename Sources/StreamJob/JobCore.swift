import BackingChain
import HostStorage
import ImageFormat

/// All that a job knows and decides, as a value: no thread, no clock, no chain. Every change of state is made in `move`,
/// by the table of `JobState.after`.
struct JobCore {
  private(set) var state = JobState.idle
  var pause = PauseReasons()
  /// For a person; forgotten when the job is started or resumed.
  var lastError: StreamError?

  // Settings.
  var configuredBase: Layer?
  /// The base that the mount asked for is not in the chain. Nothing starts before another one is chosen: without one
  /// the whole chain would be flattened.
  var unknownBase: StreamError?
  var limit: SpeedLimit
  var onError: ErrorPolicy

  // Copying.
  var sweep: Sweep
  var space: SpaceWatch
  /// Bytes, in all sweeps.
  var copied: ByteCount = 0

  // Completion.
  /// Of how many completions the chain is the result: what was looked up in an older one may be gone.
  var chainNumber = 0
  var completion: Completion?
  /// Requests whose line is being worked out by the chain; see `StreamJob.requestCompletion`.
  var planning: [Completion.Waiter] = []
  var finishing = Finishing.notYet

  // Workers.
  /// The outcome of a task that was given out under an older number counts for nothing.
  private(set) var generation = 0
  /// Of all generations.
  var tasksUnderWay = 0
  let workersWanted: Int
  var workers = 0
  var isShutDown = false

  private var observers: [@Sendable () -> Void] = []
  /// To be called by whoever changed this value, after the lock is released.
  var calls: [@Sendable () -> Void] = []

  /// How far a completion is.
  enum Finishing {
    case notYet
    case toPrepare, preparing
    /// Everything is durable; the header may be written as soon as no other task is under way.
    case toComplete
    /// From here on nothing can be withdrawn.
    case completing
  }

  init(_ options: StreamOptions, size: ByteCount) {
    limit = SpeedLimit(options.speed)
    onError = options.onError
    sweep = Sweep(size: size)
    space = SpaceWatch(options.minimumFree)
    workersWanted = options.workers
  }

  /// Where the job stops now.
  var base: Layer? {
    if let completion { completion.plan.base } else { configuredBase }
  }

  mutating func observe(_ observer: @escaping @Sendable () -> Void) { observers.append(observer) }

  mutating func move(_ event: JobEvent) {
    guard let next = state.after(event) else {
      preconditionFailure("a stream job that is \(state.rawValue) has no '\(event)'")
    }
    guard next != state else { return }
    state = next
    calls += observers
  }

  /// Makes everything that is under way count for nothing.
  mutating func supersede() {
    generation += 1
    sweep.forgetWorkers()
    space.restart()
    finishing = .notYet
  }

  /// Begins to look through the disk from its start.
  private mutating func rescan() {
    supersede()
    sweep = Sweep(size: sweep.disk.count)
  }
}

// MARK: What a person asks for

extension JobCore {
  /// What stands in the way of starting anything.
  func checkUsable() throws(StreamError) {
    if isShutDown { throw .shutDown }
    if let unknownBase { throw unknownBase }
  }

  mutating func start() {
    move(.start)
    lastError = nil
    rescan()
  }

  /// Asked to start with nothing above the base: what was armed has no use.
  mutating func nothingToDo() {
    move(.nothingToDo)
    completion = nil
    lastError = nil
    sweep.measured(0)
  }

  mutating func pauseByUser() throws(StreamError) {
    guard state != .finishing else { throw StreamError(.busy, "a stream job that is being completed cannot be paused") }
    guard state.hasJob else { throw StreamError(.noJob, "there is no stream job to pause; it is \(state.rawValue)") }
    pause.byUser = true
    move(.pause)
  }

  /// Takes back a person's pause and an error's; one for want of space ends by itself.
  mutating func resume() {
    guard state == .paused else { return }
    pause.byUser = false
    pause.error = nil
    lastError = nil
    resumeIfNothingHolds()
  }

  mutating func cancel() throws(StreamError) {
    if finishing == .completing { throw StreamError(.busy, "the header is being written; this cannot be cancelled") }
    drop(with: StreamError(.cancelled, "the stream job was cancelled"))
  }

  /// As `cancel`; but a header that is being written is left to its end, and its writer gets the true outcome.
  mutating func shutDown() {
    isShutDown = true
    dropPlanning(with: .shutDown)
    if finishing != .completing { drop(with: .shutDown) }
  }

  private mutating func drop(with error: StreamError) {
    dropPlanning(with: error)
    answerWaiters(with: error)
    completion = nil
    end(.cancel)
  }

  /// false: the layer has to be looked up again.
  mutating func setBase(_ base: Layer?, lookedUpIn chain: Int) throws(StreamError) -> Bool {
    guard completion == nil else {
      throw StreamError(.busy, "the base cannot be changed while a completion is waiting; cancel the stream job first")
    }
    guard chain == chainNumber else { return false }
    unknownBase = nil
    guard base !== configuredBase else { return true }
    configuredBase = base
    baseChanged()
    return true
  }

  mutating func hint(_ range: GuestRange) {
    if state == .running { sweep.hint(range) }
  }
}

// MARK: What happens to the job

extension JobCore {
  /// The job ends, whatever is under way.
  mutating func end(_ event: JobEvent) {
    move(event)
    pause = PauseReasons()
    supersede()
  }

  /// What is armed stays for the next start, unless it was the completion itself that failed.
  mutating func fail(_ error: StreamError) {
    lastError = error
    answerWaiters(with: error)
    if state == .finishing || completion?.isArmed == false { completion = nil }
    end(.fail)
  }

  mutating func pause(by error: StreamError) {
    pause.error = pause.error ?? error
    lastError = pause.error
    move(.pause)
    answerWaiters(with: error)
    forgetUnlessArmed()
  }

  mutating func resumeIfNothingHolds() {
    guard state == .paused, pause.isEmpty else { return }
    move(.resume)
    settle()
  }

  /// The base in force is another one than before.
  mutating func baseChanged() {
    guard state.hasJob else { return }
    rescan()
    move(.rescan)
  }

  /// Goes on from a sweep that has come to its end: to `pending`, and to the completion.
  mutating func settle() {
    guard state == .running, sweep.settle() else { return }
    if let error = sweep.passedOver { return fail(error) }
    move(.allCopied)
    finishIfAsked()
  }

  mutating func finishIfAsked() {
    guard state == .pending, completion != nil else { return }
    move(.finish)
    finishing = .toPrepare
  }
}
