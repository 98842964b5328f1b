import HostStorage
import ImageFormat
import Synchronization

/// How many bytes of the disk are not holes, for `st_blocks`. Never too few: copying programs skip what they take for holes.
///
/// Counted once by metadata, in a thread of its own, since that reads every L2 table of the chain; after that writes add to
/// it, also those in place, for the host's file may have a hole there; and it is counted again when enough time has passed
/// for its being too large to matter.
final class AllocatedSize: Sendable {
  private let state = Monitor(State())
  /// All that was ever added.
  private let added = Atomic<Int>(0)
  /// In which the host gives space.
  private static let block: ByteCount = 4096
  private static let recountInterval: Duration = .seconds(10)
  /// How long somebody who asks waits for a count. Few layers take less.
  private static let patience: Duration = .milliseconds(20)

  private struct State {
    var counted: ByteCount?
    /// What had been added when `counted` was begun.
    var addedBefore = 0
    var hasFreed = false
    var countedAt = SuspendingClock.now
    var isCounting = false
    var isStopped = false

    func isDue(added: Int) -> Bool {
      if isCounting || isStopped { return false }
      let isStale = hasFreed || added != addedBefore
      return counted == nil || isStale && SuspendingClock.now - countedAt > AllocatedSize.recountInterval
    }
  }

  /// More of the disk may be data now. Noted after it was made so: a count that began before has it added.
  func note(_ count: ByteCount) { added.add(count.bytes, ordering: .sequentiallyConsistent) }

  /// The same of a write to what the layer has, if perhaps as a hole.
  func note(written range: GuestRange) {
    note((range.start.remainder(in: Self.block) + range.count).roundedUp(to: Self.block))
  }

  /// Less may be.
  func noteFreed() {
    state.withLock { $0.hasFreed = true }
  }

  /// The figure; nil where it is not known, or not yet. `count` works it out when it is due; nil: it could not, or
  /// `isStopped` said that nobody wants to know any more.
  func value(_ count: @escaping @Sendable (_ isStopped: () -> Bool) -> ByteCount?) -> ByteCount? {
    let before = added.load(ordering: .sequentiallyConsistent)
    let isDue = state.withLock { state in
      guard state.isDue(added: before) else { return false }
      state.isCounting = true
      state.hasFreed = false
      return true
    }
    if isDue {
      do throws(StorageError) {
        try HostThread.start(name: "flatcow-count") {
          self.finish(count { self.state.read { $0.isStopped } }, addedBefore: before)
        }
      } catch {
        finish(nil, addedBefore: before)
      }
    }
    state.wait(deadline: .now + Self.patience) { $0.isCounting && (isDue || $0.counted == nil) ? nil : () }
    return state.read { state in
      state.counted.map { $0 + ByteCount(added.load(ordering: .sequentiallyConsistent) - state.addedBefore) }
    }
  }

  private func finish(_ counted: ByteCount?, addedBefore: Int) {
    state.withLock { state in
      state.isCounting = false
      guard let counted else { return }
      // What was written while it was counted is counted at least once.
      state.counted = counted
      state.addedBefore = addedBefore
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
