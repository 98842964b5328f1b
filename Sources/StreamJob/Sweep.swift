import HostStorage
import ImageFormat

/// All the copying for one base: a measure, and passes until one finds nothing left.
struct Sweep {
  enum Measuring { case needed, underWay, over }

  let disk: GuestRange
  var measuring = Measuring.needed
  private(set) var pass: Pass
  private var hints = HintQueue()
  private var lastWasHint = false
  /// Chunks that workers copy now.
  private var populating = 0
  /// QEMU's position: never goes back.
  private(set) var done: ByteCount = 0
  /// Bytes to copy: a bound at first, what was measured later.
  private(set) var remaining: ByteCount
  /// The first error that `ErrorPolicy.ignore` passed over.
  var passedOver: StreamError?

  init(size: ByteCount) {
    disk = GuestRange(at: GuestOffset(0), count: size)
    pass = Pass(size: size)
    remaining = size
  }

  // MARK: What comes next

  mutating func hint(_ range: GuestRange) { hints.add(range.clamped(to: disk)) }

  /// With a limit one chunk at a time, so that no more than one exceeds it. Hints take turns with the pass: a guest
  /// that keeps reading what the base holds must not keep the job from its end.
  mutating func next(limit: SpeedLimit, now: SuspendingClock.Instant) -> JobTask.Work? {
    guard limit.opens(after: now) == nil, !(limit.isLimited && populating > 0) else { return nil }
    let chunk = limit.chunk(atMost: JobCore.chunk)
    if lastWasHint, let step = pass.next(chunk: chunk) { return work(for: step) }
    if let range = hints.next(atMost: chunk) {
      lastWasHint = true
      populating += 1
      return .populate(range.clamped(to: disk), hinted: true)
    }
    return pass.next(chunk: chunk).map { work(for: $0) }
  }

  private mutating func work(for step: Pass.Step) -> JobTask.Work {
    lastWasHint = false
    switch step {
    case .scan(let offset): return .scan(from: offset)
    case .populate(let range):
      populating += 1
      return .populate(range, hinted: false)
    }
  }

  // MARK: What became of it

  /// nil: it could not be measured, and the bound stays.
  mutating func measured(_ bytes: ByteCount?) {
    measuring = .over
    remaining = bytes ?? remaining
  }

  mutating func scanned(finding range: GuestRange?) { pass.scanned(finding: range) }

  mutating func scanFailed(leavingOut isLeftOut: Bool) {
    pass.scanFailed(leavingOut: isLeftOut ? JobCore.chunk : nil)
  }

  mutating func copied(_ bytes: ByteCount) { remaining = max(remaining - bytes, 0) }

  /// `isLeft`: it was not populated, and is to be tried again.
  mutating func ended(_ range: GuestRange, hinted: Bool, isLeft: Bool) {
    populating -= 1
    if !hinted { pass.ended(range, isLeft: isLeft) }
  }

  /// What workers still carry out is not waited for.
  mutating func forgetWorkers() { populating = 0 }

  /// Notes the position. Returns whether a whole pass has found nothing left, or has left something out; after one that
  /// found something, another one begins.
  mutating func settle() -> Bool {
    done = max(done, pass.position - disk.start)
    // What the guest wrote meanwhile needs no copying any more.
    remaining = min(remaining, disk.count - done)
    guard pass.isComplete, measuring == .over else { return false }
    guard pass.foundSomething, passedOver == nil else { return true }
    pass = Pass(size: disk.count)
    return false
  }
}
