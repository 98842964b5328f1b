package import HostStorage
import Synchronization

/// The memory that the L2 tables of a chain's images may take together, and take.
///
/// An image may take what the others leave. Where all is taken, each keeps its share still, and an image gives back what it
/// has beyond that when it loads its next table: until then at worst twice the limit is taken. A few tables an image stay
/// whatever the limit: with many layers of large clusters these are what counts.
package final class TableBudget: Sendable {
  private let limit: Int
  /// What an image keeps whatever the others take.
  let share: Int
  private let taken = Atomic<Int>(0)

  /// For so many images.
  package init(limit: ByteCount, images: Int = 1) {
    self.limit = limit.bytes
    share = limit.bytes / max(1, images)
  }

  var isExceeded: Bool { taken.load(ordering: .relaxed) > limit }

  /// Enough for a while.
  var hasRoom: Bool { taken.load(ordering: .relaxed) <= limit / 4 * 3 }

  /// `bytes` more are taken, or fewer.
  func take(_ bytes: Int) {
    taken.add(bytes, ordering: .relaxed)
  }
}
