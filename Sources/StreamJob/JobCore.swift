import BackingChain
import HostStorage
import ImageFormat

/// All that a job knows and decides, as a value: no thread, no clock, no chain. Every change of state is made here, in
/// `move`, by the table of `JobState.after`.
struct JobCore {
  private(set) var state = JobState.idle
  var pause = PauseReasons()
  /// What the last failure was, for a person; forgotten when the job is started or resumed.
  var lastError: StreamError?

  // Settings.
  var configuredBase: Layer?
  /// The base that the mount asked for is not in the chain: nothing starts before another one is chosen, for without
  /// this the whole chain would be flattened.
  var unknownBase: StreamError?
  var limit: SpeedLimit
  var onError: ErrorPolicy
  let minimumFree: MinimumFree

  // The run: what is being done, for one base.
  private(set) var run = 0
  let size: ByteCount
  var pass: Pass
  var hints = HintQueue()
  var lastWasHint = false
  /// QEMU's position: never goes back within a run.
  var done: ByteCount = 0
  /// Bytes to copy, once they were measured.
  var remaining: ByteCount?
  var measuring = Measuring.needed
  /// Bytes copied in all runs.
  var copied: ByteCount = 0
  /// The first error that `ErrorPolicy.ignore` passed over.
  var passedOver: StreamError?
  var isCheckingSpace = false
  /// When to look at the free space again; nil: before anything else is copied.
  var spaceDue: SuspendingClock.Instant?
  var copiedSinceSpaceCheck: ByteCount = 0

  // Completion.
  var completion: Completion?
  /// Requests whose line is being worked out by the chain; see `StreamJob.requestCompletion`.
  var planning: [Completion.Waiter] = []
  var finishing = Finishing.notYet

  // Workers.
  /// Tasks that workers carry out now, of any run; `populating`: those of this run that copy.
  var tasksUnderWay = 0
  var populating = 0
  let workersWanted: Int
  var workers = 0
  var isShutDown = false

  private var observers: [@Sendable () -> Void] = []
  /// To be called by whoever changed this value, after the lock is released.
  var calls: [@Sendable () -> Void] = []

  enum Measuring { case needed, underWay, over }

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
    self.size = size
    limit = SpeedLimit(options.speed)
    onError = options.onError
    minimumFree = options.minimumFree
    workersWanted = options.workers
    pass = Pass(size: size)
  }

  /// Where this run stops.
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

  /// Makes the outcomes of all tasks under way count for nothing.
  mutating func beginRun() {
    run += 1
    populating = 0
    isCheckingSpace = false
    finishing = .notYet
  }

  /// Begins to look through the disk from its start.
  mutating func rescan() {
    beginRun()
    pass = Pass(size: size)
    hints = HintQueue()
    done = 0
    remaining = nil
    measuring = .needed
    passedOver = nil
    spaceDue = nil
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
    pause = PauseReasons()
    lastError = nil
    rescan()
  }

  mutating func pauseByUser() throws(StreamError) {
    guard state != .finishing else { throw StreamError(.busy, "the job is being completed and cannot be paused") }
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

  mutating func resumeIfNothingHolds() {
    guard state == .paused, pause.isEmpty else { return }
    move(.resume)
    settle()
  }

  mutating func cancel() throws(StreamError) {
    if finishing == .completing { throw StreamError(.busy, "the header is being written; this cannot be cancelled") }
    drop(with: StreamError(.cancelled, "the stream job was cancelled"))
    end(.cancel)
  }

  /// As `cancel`; but a header that is being written is left to its end, and its writer gets the true outcome.
  mutating func shutDown() {
    isShutDown = true
    guard finishing != .completing else { return }
    drop(with: .shutDown)
    end(.cancel)
  }

  mutating func setBase(_ base: Layer?) throws(StreamError) {
    guard completion == nil else {
      throw StreamError(.busy, "the base cannot be changed while a completion is waiting; cancel the job first")
    }
    unknownBase = nil
    guard base !== configuredBase else { return }
    configuredBase = base
    baseChanged()
  }

  mutating func hint(_ range: GuestRange) {
    guard state == .running else { return }
    hints.add(range)
  }
}

// MARK: What happens to the job

extension JobCore {
  /// The job ends, whatever is under way.
  mutating func end(_ event: JobEvent) {
    move(event)
    pause = PauseReasons()
    beginRun()
  }

  /// What armed the completion stays for the next start, unless it was the completion itself that failed.
  mutating func fail(_ error: StreamError) {
    lastError = error
    if state == .finishing { drop(with: error) } else { answerWaiters(with: error) }
    end(.fail)
  }

  mutating func pauseBy(_ error: StreamError) {
    pause.error = pause.error ?? error
    lastError = pause.error
    move(.pause)
    answerWaiters(with: error)
  }

  mutating func nothingToDo() {
    forgetCompletion()
    move(.nothingToDo)
    lastError = nil
    remaining = 0
  }

  /// The base in force is another one than before.
  mutating func baseChanged() {
    guard state.hasJob else { return }
    rescan()
    move(.rescan)
  }

  /// Goes on when a pass has come to its end: to another pass, to `pending`, to the completion.
  mutating func settle() {
    done = max(done, pass.position - GuestOffset(0))
    // What the guest wrote meanwhile needs no copying any more.
    remaining = remaining.map { min($0, size - done) }
    guard state == .running, pass.isComplete, measuring == .over else { return }
    if let passedOver { return fail(passedOver) }
    if pass.foundSomething {
      pass = Pass(size: size)
      return
    }
    remaining = 0
    move(.allCopied)
    finishIfAsked()
  }

  mutating func finishIfAsked() {
    guard state == .pending, completion != nil else { return }
    move(.finish)
    finishing = .toPrepare
  }
}
