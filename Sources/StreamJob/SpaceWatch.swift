import HostStorage

/// When to look at the free space below the active layer.
struct SpaceWatch {
  /// How often, in time and in bytes copied.
  static let interval = Duration.seconds(1)
  static let stride: ByteCount = 67_108_864

  let minimum: MinimumFree
  private(set) var isLooking = false
  /// nil: before anything else is copied.
  private var due: SuspendingClock.Instant?
  private var copied: ByteCount = 0
  /// How much is copied at most before the next look.
  private var allowance = stride

  init(_ minimum: MinimumFree) { self.minimum = minimum }

  /// Whether it is time to look; the caller does so then.
  mutating func look(_ now: SuspendingClock.Instant) -> Bool {
    guard !minimum.isNothing, !isLooking, due.map({ $0 <= now }) ?? true || copied >= allowance else { return false }
    isLooking = true
    return true
  }

  var nextLook: SuspendingClock.Instant? { minimum.isNothing ? nil : due }

  /// `spare` is what there is above the minimum; nil: not known. On a small host it is gone long before the stride is: half
  /// of it may be copied, so that the next look comes before the shortage.
  mutating func looked(_ now: SuspendingClock.Instant, spare: ByteCount?) {
    isLooking = false
    due = now + Self.interval
    copied = 0
    allowance = spare.map { min(Self.stride, max(1, ByteCount($0.bytes / 2))) } ?? Self.stride
  }

  mutating func noteCopied(_ bytes: ByteCount) { copied += bytes }

  /// Looks again before anything is copied; what is under way is not waited for.
  mutating func restart() {
    isLooking = false
    due = nil
  }
}
