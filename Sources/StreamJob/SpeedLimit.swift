import HostStorage

/// Bytes per second, accounted in slices of 100 ms as QEMU does it: the first chunk is never delayed, one chunk may
/// exceed the limit, and then as many slices pass as it used up. Skipped ranges and zeros cost nothing.
struct SpeedLimit {
  static let slice = Duration.milliseconds(100)

  /// 0: unlimited. A change counts at once, for what is already accounted too.
  var bytesPerSecond: ByteCount
  private var sliceStart: SuspendingClock.Instant?
  private var dispatched: ByteCount = 0

  init(_ bytesPerSecond: ByteCount) { self.bytesPerSecond = bytesPerSecond }

  var isLimited: Bool { bytesPerSecond > 0 }

  /// Bytes in a slice; a speed of less than one byte a slice is one.
  private var quota: Int { max(bytesPerSecond.bytes / 10, 1) }

  /// How much to copy in one go: about a slice's worth, so that a limit is smooth, in units that suit any cluster.
  func chunk(atMost most: ByteCount) -> ByteCount {
    let least: ByteCount = 65536
    return isLimited ? min(max(ByteCount(quota).roundedDown(to: least), least), most) : most
  }

  /// When the next chunk may be copied; nil: now.
  func opens(after now: SuspendingClock.Instant) -> SuspendingClock.Instant? {
    guard isLimited, let end, end > now else { return nil }
    return end
  }

  /// When what was dispatched is paid for; nil while the slice has something left.
  private var end: SuspendingClock.Instant? {
    guard let sliceStart, dispatched.bytes >= quota else { return nil }
    return sliceStart + Self.slice * (Double(dispatched.bytes) / Double(quota))
  }

  /// Accounts for bytes that were copied by `now`.
  mutating func charge(_ bytes: ByteCount, at now: SuspendingClock.Instant) {
    guard bytes > 0 else { return }
    if sliceStart.map({ (end ?? $0 + Self.slice) < now }) ?? true {
      sliceStart = now
      dispatched = 0
    }
    dispatched += bytes
  }
}
