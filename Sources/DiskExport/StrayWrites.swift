import FUSESession
import Glibc
import HostStorage

/// Writes past the end of `disk` that the kernel's cache took, and sent later. The kernel is not told that one failed: it
/// would let it be known to whoever comes by, also to direct writers. Those who have the disk open for writing are told as
/// the kernel tells of a lost page, each once: by the next fsync, and by each close until then, for a close may be that of a
/// child that has inherited the file.
final class StrayWrites: Sendable {
  private struct State {
    var nextWriter: UInt64 = 1
    /// By open file, of how many strays it was told, or knows nothing of since it was opened later.
    var told: [UInt64: Int] = [:]
    var count = 0
    var lastAt: SuspendingClock.Instant?
  }

  /// For how long after one its writer is looked for. The kernel slows a fast writer down by sleeps of up to 200 ms, so it
  /// comes by within this time.
  private static let patience: Duration = .seconds(1)

  private let state = Lock(State())

  /// The number of an open file that may write.
  func open() -> UInt64 {
    state.withLock { state in
      defer { state.nextWriter += 1 }
      state.told[state.nextWriter] = state.count
      return state.nextWriter
    }
  }

  func close(_ writer: UInt64) { state.withLock { _ = $0.told.removeValue(forKey: writer) } }

  func note() {
    state.withLock { state in
      state.count += 1
      state.lastAt = .now
    }
  }

  /// Whether there was one just now: the kernel's idea of the size may be wrong.
  var areRecent: Bool { state.withLock { state in state.lastAt.map { .now - $0 < Self.patience } ?? false } }

  /// ENOSPC where there was one that `writer` was not told of; `isSync`: now it has been.
  func tell(_ writer: UInt64, isSync: Bool) throws(Errno) {
    let isNews = state.withLock { state in
      guard let told = state.told[writer], told < state.count else { return false }
      if isSync { state.told[writer] = state.count }
      return true
    }
    if isNews { throw Errno(ENOSPC) }
  }
}
