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

  init(_ minimum: MinimumFree) { self.minimum = minimum }

  /// Whether it is time to look; the caller does so then.
  mutating func look(_ now: SuspendingClock.Instant) -> Bool {
    guard !minimum.isNothing, !isLooking, due.map({ $0 <= now }) ?? true || copied >= Self.stride else { return false }
    isLooking = true
    return true
  }

  var nextLook: SuspendingClock.Instant? { minimum.isNothing ? nil : due }

  mutating func looked(_ now: SuspendingClock.Instant) {
    isLooking = false
    due = now + Self.interval
    copied = 0
  }

  mutating func noteCopied(_ bytes: ByteCount) { copied += bytes }

  /// Looks again before anything is copied; what is under way is not waited for.
  mutating func restart() {
    isLooking = false
    due = nil
  }
}
