import BackingChain
import HostStorage
import ImageFormat

extension JobCore {
  /// What is populated in one go: large enough that a host's disk streams, no smaller than any cluster, and small enough
  /// that a pause takes effect at once.
  static let chunk: ByteCount = 2_097_152
  /// How often the free space is looked at, in time and in bytes copied.
  static let spaceInterval = Duration.seconds(1)
  static let spaceStride: ByteCount = 67_108_864

  enum Turn: Sendable {
    case work(JobTask)
    /// Nothing to do until then (nil: until something changes).
    case sleep(until: SuspendingClock.Instant?)
    case end
  }

  /// What a worker is to do that has nothing to do. nil, with nothing changed: go on sleeping until `wakeUp`.
  mutating func turn(sleepingUntil wakeUp: SuspendingClock.Instant?, now: SuspendingClock.Instant) -> Turn? {
    if isShutDown { return .end }
    if let work = nextWork(now) {
      tasksUnderWay += 1
      return .work(JobTask(work: work, base: base, run: run))
    }
    let next = nextTime(after: now)
    return next == wakeUp ? nil : .sleep(until: next)
  }

  private mutating func nextWork(_ now: SuspendingClock.Instant) -> JobTask.Work? {
    switch state {
    case .running:
      if let work = measureWork() { return work }
      guard measuring == .over else { return nil }
      if remaining != 0, let work = spaceWork(now) { return work }
      return isCheckingSpace ? nil : copyWork(now)
    case .paused: return measureWork() ?? (pause.space == nil ? nil : spaceWork(now))
    case .finishing: return finishWork()
    case .idle, .pending, .completed, .failed, .cancelled: return nil
    }
  }

  /// When there may be something to do though nothing has changed.
  private func nextTime(after now: SuspendingClock.Instant) -> SuspendingClock.Instant? {
    let space = minimumFree.isNothing ? nil : spaceDue
    let times: [SuspendingClock.Instant?] =
      switch state {
      case .running: [limit.opens(after: now), space]
      case .paused: [pause.space == nil ? nil : space]
      default: []
      }
    return times.compactMap { $0 }.filter { $0 > now }.min()
  }

  private mutating func measureWork() -> JobTask.Work? {
    guard measuring == .needed else { return nil }
    measuring = .underWay
    return .measure
  }

  private mutating func spaceWork(_ now: SuspendingClock.Instant) -> JobTask.Work? {
    guard !minimumFree.isNothing, !isCheckingSpace else { return nil }
    guard spaceDue.map({ $0 <= now }) ?? true || copiedSinceSpaceCheck >= Self.spaceStride else { return nil }
    isCheckingSpace = true
    return .checkSpace
  }

  /// With a limit one chunk at a time, so that no more than one exceeds it. Hints take turns with the pass: a guest
  /// that keeps reading what the base holds must not keep the job from its end.
  private mutating func copyWork(_ now: SuspendingClock.Instant) -> JobTask.Work? {
    guard limit.opens(after: now) == nil, !(limit.isLimited && populating > 0) else { return nil }
    let chunk = limit.chunk(atMost: Self.chunk)
    if lastWasHint, let step = pass.next(chunk: chunk) { return work(for: step) }
    if let range = hints.next(atMost: chunk) {
      lastWasHint = true
      populating += 1
      return .populate(range.clamped(to: GuestRange(at: GuestOffset(0), count: size)), hinted: true)
    }
    return pass.next(chunk: chunk).map { work(for: $0) }
  }

  private mutating func work(for step: Pass.Step) -> JobTask.Work {
    lastWasHint = false
    switch step {
    case .scan(let range): return .scan(range)
    case .populate(let range):
      populating += 1
      return .populate(range, hinted: false)
    }
  }

  private mutating func finishWork() -> JobTask.Work? {
    guard let completion else { return nil }
    switch finishing {
    case .toPrepare:
      finishing = .preparing
      return .prepare(completion.plan)
    case .toComplete where tasksUnderWay == 0:
      finishing = .completing
      return .complete(completion.plan)
    case .notYet, .preparing, .toComplete, .completing: return nil
    }
  }
}

// MARK: Outcomes

extension JobCore {
  mutating func ended(_ task: JobTask, with outcome: JobTask.Outcome, now: SuspendingClock.Instant) {
    tasksUnderWay -= 1
    guard task.run == run else { return }
    switch task.work {
    case .measure:
      measuring = .over
      // Without a measure the position bounds it; what stood in its way, the pass will meet.
      if case .measured(let bytes) = outcome { remaining = bytes }
    case .checkSpace: spaceChecked(outcome, now)
    case .scan(let range): scanEnded(from: range.start, outcome)
    case .populate(let range, let hinted): populateEnded(range, hinted: hinted, outcome, now)
    case .prepare: finishEnded(outcome) { core in core.finishing = .toComplete }
    case .complete: finishEnded(outcome) { core in core.succeed() }
    }
    settle()
  }

  private mutating func spaceChecked(_ outcome: JobTask.Outcome, _ now: SuspendingClock.Instant) {
    isCheckingSpace = false
    spaceDue = now + Self.spaceInterval
    copiedSinceSpaceCheck = 0
    // A host that does not say how much is free does not stop the job.
    guard case .space(let free, let total) = outcome, remaining != 0,
      let shortage = SpaceShortage(free: free, total: total, minimum: minimumFree)
    else {
      pause.space = nil
      return resumeIfNothingHolds()
    }
    pause.space = shortage
    move(.pause)
  }

  private mutating func scanEnded(from start: GuestOffset, _ outcome: JobTask.Outcome) {
    switch outcome {
    case .found(let range): pass.scanned(finding: range)
    case .failed(let error):
      pass.scanFailed(leavingOut: onError.action(for: error) == .leaveOut ? Self.chunk : nil)
      failed(error)
    default: break
    }
  }

  private mutating func populateEnded(
    _ range: GuestRange, hinted: Bool, _ outcome: JobTask.Outcome, _ now: SuspendingClock.Instant
  ) {
    populating -= 1
    switch outcome {
    case .populated(let bytes):
      if !hinted { pass.ended(range) }
      limit.charge(bytes, at: now)
      copied += bytes
      copiedSinceSpaceCheck += bytes
      remaining = remaining.map { max($0 - bytes, 0) }
    case .failed(let error) where !hinted:
      if onError.action(for: error) == .leaveOut { pass.ended(range) } else { pass.failed(range) }
      failed(error)
    default: break  // Of a hint: the pass will meet it.
    }
  }

  private mutating func failed(_ cause: ChainError) {
    let error = StreamError(cause)
    switch onError.action(for: cause) {
    case .fail: fail(error)
    case .leaveOut:
      passedOver = passedOver ?? error
      lastError = passedOver
    case .pause: pauseBy(error)
    }
  }

  private mutating func finishEnded(_ outcome: JobTask.Outcome, _ succeed: (inout Self) -> Void) {
    if case .failed(let error) = outcome { fail(StreamError(error)) } else { succeed(&self) }
  }
}
