import BackingChain
import HostStorage
import ImageFormat

extension JobCore {
  /// What is populated in one go: large enough that a host's disk streams, no smaller than any cluster, and small enough
  /// that a pause takes effect at once.
  static let chunk: ByteCount = 2_097_152

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
      return .work(JobTask(work: work, base: base, generation: generation))
    }
    let next = nextTime(after: now)
    return next == wakeUp ? nil : .sleep(until: next)
  }

  private mutating func nextWork(_ now: SuspendingClock.Instant) -> JobTask.Work? {
    switch state {
    case .running where sweep.measuring == .needed, .paused where sweep.measuring == .needed:
      sweep.measuring = .underWay
      return .measure
    case .running:
      guard sweep.measuring == .over else { return nil }
      if sweep.remaining != 0, space.look(now) { return .checkSpace }
      return space.isLooking ? nil : sweep.next(limit: limit, now: now)
    case .paused: return pause.space != nil && space.look(now) ? .checkSpace : nil
    case .finishing: return finishWork()
    case .idle, .pending, .completed, .failed, .cancelled: return nil
    }
  }

  /// When there may be something to do though nothing has changed.
  private func nextTime(after now: SuspendingClock.Instant) -> SuspendingClock.Instant? {
    let times: [SuspendingClock.Instant?] =
      switch state {
      case .running: [limit.opens(after: now), space.nextLook]
      case .paused: [pause.space == nil ? nil : space.nextLook]
      default: []
      }
    return times.compactMap { $0 }.filter { $0 > now }.min()
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
    guard task.generation == generation else { return }
    switch (task.work, outcome) {
    case (.measure, .measured(let bytes)): sweep.measured(bytes)
    // What stands in its way, the pass will meet.
    case (.measure, _): sweep.measured(nil)
    case (.checkSpace, .space(let free, let total)):
      space.looked(now, spare: free - space.minimum.bytes(of: total))
      spaceChecked(SpaceShortage(free: free, total: total, minimum: space.minimum))
    // A host that does not say how much is free does not stop the job.
    case (.checkSpace, _):
      space.looked(now, spare: nil)
      spaceChecked(nil)
    case (.scan, .found(let range)): sweep.scanned(finding: range)
    case (.scan, .failed(let error)):
      sweep.scanFailed(leavingOut: onError.action(for: error) == .leaveOut)
      failed(error)
    case (.populate(let range, let hinted), .populated(let bytes)):
      sweep.ended(range, hinted: hinted, isLeft: false)
      noteCopied(bytes, now)
    case (.populate(let range, hinted: true), _): sweep.ended(range, hinted: true, isLeft: false)
    case (.populate(let range, hinted: false), .failed(let error)):
      sweep.ended(range, hinted: false, isLeft: onError.action(for: error) != .leaveOut)
      failed(error)
    case (.prepare, .done): finishing = .toComplete
    case (.complete, .done): succeed()
    case (.prepare, .failed(let error)), (.complete, .failed(let error)): fail(StreamError(error))
    default: preconditionFailure("\(task.work) cannot end as \(outcome)")
    }
    settle()
  }

  private mutating func noteCopied(_ bytes: ByteCount, _ now: SuspendingClock.Instant) {
    limit.charge(bytes, at: now)
    space.noteCopied(bytes)
    sweep.copied(bytes)
    copied += bytes
  }

  private mutating func spaceChecked(_ shortage: SpaceShortage?) {
    pause.space = sweep.remaining == 0 ? nil : shortage
    if pause.space == nil { resumeIfNothingHolds() } else { move(.pause) }
  }

  private mutating func failed(_ cause: ChainError) {
    let error = StreamError(cause)
    switch onError.action(for: cause) {
    case .fail: fail(error)
    case .leaveOut:
      sweep.passedOver = sweep.passedOver ?? error
      lastError = sweep.passedOver
    case .pause: pause(by: error)
    }
  }
}
