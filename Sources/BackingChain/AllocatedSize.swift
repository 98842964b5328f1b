import HostStorage

/// How many bytes of the disk are not holes, for `st_blocks`. Never too few: copying programs skip what they take for holes.
///
/// Counted once by metadata, in a thread of its own, since that reads every L2 table of the chain; after that writes add to
/// it, and it is counted again when enough time has passed for its being too large to matter.
final class AllocatedSize: Sendable {
  private let state = Monitor(State())
  private static let recountInterval: Duration = .seconds(10)
  /// How long somebody who asks waits for a count. Few layers take less.
  private static let patience: Duration = .milliseconds(20)

  private struct State {
    var counted: ByteCount?
    /// Since `counted` was begun, and since the count that is under way was.
    var added: ByteCount = 0
    var addedMeanwhile: ByteCount = 0
    var isStale = false
    var countedAt = SuspendingClock.now
    var isCounting = false
    var isStopped = false

    var isDue: Bool {
      if isCounting || isStopped { return false }
      return counted == nil || isStale && SuspendingClock.now - countedAt > AllocatedSize.recountInterval
    }
  }

  /// More of the disk may be data now.
  func note(_ count: ByteCount) {
    state.withLock { state in
      state.added += count
      state.addedMeanwhile += count
      state.isStale = true
    }
  }

  /// Less may be.
  func noteFreed() {
    state.withLock { $0.isStale = true }
  }

  /// The figure; nil where it is not known, or not yet. `count` works it out when it is due; nil: it could not, or
  /// `isStopped` said that nobody wants to know any more.
  func value(_ count: @escaping @Sendable (_ isStopped: () -> Bool) -> ByteCount?) -> ByteCount? {
    let isDue = state.withLock { state in
      guard state.isDue else { return false }
      state.isCounting = true
      state.isStale = false
      state.addedMeanwhile = 0
      return true
    }
    if isDue {
      do throws(StorageError) {
        try HostThread.start(name: "flatcow-count") { self.finish(count { self.state.read { $0.isStopped } }) }
      } catch {
        finish(nil)
      }
    }
    state.wait(deadline: .now + Self.patience) { $0.isCounting && (isDue || $0.counted == nil) ? nil : () }
    return state.read { state in state.counted.map { $0 + state.added } }
  }

  private func finish(_ counted: ByteCount?) {
    state.withLock { state in
      state.isCounting = false
      guard let counted else { return }
      // What was written while it was counted is counted at least once.
      state.counted = counted
      state.added = state.addedMeanwhile
      state.countedAt = .now
    }
  }

  /// Ends counting for good. Returns whether nobody counts any more; where not, one hangs in a layer, which must not be
  /// closed then.
  func stop(patience: Duration) -> Bool {
    state.withLock { $0.isStopped = true }
    return state.wait(deadline: .now + patience) { $0.isCounting ? nil : true } ?? false
  }
}
