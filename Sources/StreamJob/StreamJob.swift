// StreamJob: populates a chain's active layer from the layers below it, and completes when it is told what to record.
//
// It is QEMU's block-stream: between a *top* (`StreamTarget`) and a *base* (the layer that is kept; none: the whole
// chain is flattened), while the guest reads and writes.
//
//     control, stream/ ──► StreamJob ──► JobCore (a value: what is so, what comes next)
//                                          │  ▲
//                                 JobTask  ▼  │ outcome
//                                        workers ──► StreamTarget
//
// `JobCore` decides, and does nothing else. The workers ask it for a task, carry that out on the target with no lock
// held, and tell it the outcome. A task belongs to a *generation*; whatever makes outcomes meaningless (cancelled,
// another base) begins the next one, and what belongs to an old one counts for nothing. So nothing here ever waits for
// a worker, and one that hangs in a base's read delays neither `cancel` nor `status`.
//
// Invariant: the header is written only when a whole look through the disk found nothing left to populate above
// the base that is recorded, and while no other task is under way.
//
// Lock order: one lock, the monitor around `JobCore`. Nothing is called while it is held; answers and
// notifications are given after it is released.

import BackingChain
package import HostStorage
package import ImageFormat

/// A stream job and its settings, for as long as the disk is mounted.
///
/// Every method may be called from any thread. None waits for a worker; only those that look a name up wait for the
/// target.
package final class StreamJob: Sendable {
  let target: any StreamTarget
  let core: Monitor<JobCore>

  /// Sets a job up, and starts it where the options say so. What stands in its way makes it `failed`, with a sentence, and
  /// nothing else. A top that cannot be written makes it `idle`.
  package init(_ target: any StreamTarget, options: StreamOptions = StreamOptions()) {
    self.target = target
    core = Monitor(JobCore(options, size: target.virtualSize))
    guard target.isWritable else {
      update { $0.sweep.measured(0) }
      return
    }
    do throws(StreamError) {
      try configure(options)
      if options.start != .off { try start(paused: options.start == .paused) }
    } catch {
      update { $0.fail(error) }
    }
  }

  private func configure(_ options: StreamOptions) throws(StreamError) {
    do throws(StreamError) {
      try setBase(named: options.base)
    } catch {
      update { $0.unknownBase = error }
      throw error
    }
    guard let line = options.backingFile else { return }
    let base = core.read { $0.configuredBase }
    let plan = try StreamError.wrapping { () throws(ChainError) in try target.plan(line, keeping: base) }
    update { $0.completion = Completion(line: line, plan: plan, isArmed: true) }
  }

  /// Changes the job, and then tells everybody who is concerned.
  func update<Result: Sendable, E: Error>(_ body: (inout JobCore) throws(E) -> Result) throws(E) -> Result {
    let (result, calls) = core.withLock { core in
      let result = Swift.Result { () throws(E) in try body(&core) }
      defer { core.calls = [] }
      return (result, core.calls)
    }
    for call in calls { call() }
    return try result.get()
  }
}

// MARK: What stream/ offers

extension StreamJob {
  package var status: StreamStatus { core.read { $0.status } }

  /// Has `observer` called after every change of state. It may come late and more than once: look at `status`.
  package func onChange(_ observer: @escaping @Sendable () -> Void) {
    update { $0.observe(observer) }
  }

  /// Starts a job where there is none, and resumes a paused one. Throws `.chain` for a disk that cannot be
  /// completed, and the job is `failed` then; with nothing above the base it is `idle`.
  package func run() throws(StreamError) {
    if try update({ core throws(StreamError) in
      try core.checkUsable()
      core.resume()
      return core.state.hasJob
    }) {
      return
    }
    try start(paused: false)
  }

  /// Idempotent. Throws `.noJob` where there is none, `.busy` when it is being completed.
  package func pause() throws(StreamError) { try update { core throws(StreamError) in try core.pauseByUser() } }

  /// Ends the job, and disarms it; what is populated stays. Idempotent. Throws `.busy` while the header is being written.
  package func cancel() throws(StreamError) { try update { core throws(StreamError) in try core.cancel() } }

  /// Bytes per second; 0: unlimited.
  package func setSpeed(_ speed: ByteCount) { update { $0.limit.bytesPerSecond = speed } }

  /// For the errors from now on.
  package func setErrorPolicy(_ policy: ErrorPolicy) { update { $0.onError = policy } }

  /// Keeps the layer that `name` means (empty: none). Throws `.busy` while a completion is waiting, `.chain` where no
  /// layer has that name.
  package func setBase(named name: [UInt8]) throws(StreamError) {
    var isSet = false
    while !isSet {
      let chain = core.read { $0.chainNumber }
      let base = try StreamError.wrapping { () throws(ChainError) in
        try name.isEmpty ? nil : target.layer(named: name)
      }
      isSet = try update { core throws(StreamError) in try core.setBase(base, lookedUpIn: chain) }
    }
  }

  /// The guest read `range` from below the top: it is populated soon.
  package func hint(_ range: GuestRange) {
    guard core.read({ $0.state == .running }) else { return }
    update { $0.hint(range) }
  }

  private func start(paused: Bool) throws(StreamError) {
    var isSettled = false
    while !isSettled {
      let base = core.read { $0.base }
      let hasLayers = target.hasLayers(above: base)
      if hasLayers { try makeReady() }
      isSettled = try update { core throws(StreamError) in
        try core.checkUsable()
        if core.state.hasJob { return true }
        guard core.base === base else { return false }
        if hasLayers { core.start() } else { core.nothingToDo() }
        if hasLayers && paused { try core.pauseByUser() }
        return true
      }
    }
  }

  private func makeReady() throws(StreamError) {
    do throws(StreamError) {
      try StreamError.wrapping { () throws(ChainError) in try target.checkCompletable() }
      try startWorkers()
    } catch {
      if target.isWritable { update { if !$0.state.hasJob { $0.fail(error) } } }
      throw error
    }
  }
}
