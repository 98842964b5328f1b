import HostStorage

/// How many bytes of the disk are not holes, for `st_blocks`. Never too few: copying programs skip what they take for holes.
///
/// Counted once by metadata; after that writes add to it, and it is counted again when enough time has passed for its
/// being too large to matter.
final class AllocatedSize: Sendable {
  private let state = Lock(State())
  /// A count reads every L2 table of the chain once, which may take a second for a terabyte.
  private static let patience: Duration = .seconds(10)

  private struct State {
    var counted: ByteCount?
    var added: ByteCount = 0
    var isStale = false
    var countedAt = SuspendingClock.now
  }

  /// More of the disk may be data now.
  func note(_ count: ByteCount) {
    state.withLock { state in
      state.added += count
      state.isStale = true
    }
  }

  /// Less may be.
  func noteFreed() {
    state.withLock { $0.isStale = true }
  }

  /// The figure, which `count` works out anew when it is due.
  func value(_ count: () throws(ChainError) -> ByteCount) throws(ChainError) -> ByteCount {
    let known = state.withLock { state -> ByteCount? in
      guard let counted = state.counted else { return nil }
      let isDue = state.isStale && SuspendingClock.now - state.countedAt > Self.patience
      return isDue ? nil : counted + state.added
    }
    if let known { return known }
    // What is written while it is counted is counted at least once.
    state.withLock { state in
      state.added = 0
      state.isStale = false
    }
    let counted = try count()
    return state.withLock { state in
      state.counted = counted
      state.countedAt = .now
      return counted + state.added
    }
  }
}
