import HostStorage
import ImageFormat

/// Locks on guest ranges.
///
/// An exclusive lock is on whole clusters, since what it guards, a mapping, is a cluster's: two small writes into one
/// unallocated cluster don't overlap, and yet only one may allocate it. A shared lock leaves the mapping alone and
/// writes in place: it excludes exclusive locks on its clusters, and other writers on its exact bytes.
///
/// Locks are granted in the order of asking, as far as they conflict, so nobody starves. A holder never asks for a second.
final class RangeLocks: Sendable {
  private let unit: ByteCount
  private let state = Monitor(State())

  private struct State {
    var nextID = 0
    /// Held or waited for, oldest first.
    var entries: [Entry] = []

    func isBlocked(_ entry: Entry) -> Bool {
      entries.contains { $0.id < entry.id && $0.conflicts(with: entry) }
    }
  }

  private struct Entry {
    let id: Int
    let bytes: GuestRange
    let clusters: GuestRange
    let isExclusive: Bool

    func conflicts(with other: Entry) -> Bool {
      isExclusive || other.isExclusive ? clusters.overlaps(other.clusters) : bytes.overlaps(other.bytes)
    }
  }

  init(unit: ByteCount) {
    self.unit = unit
  }

  /// How many wait for what others hold.
  var waiting: Int { state.read { state in state.entries.count { state.isBlocked($0) } } }

  /// Runs `body` while holding `range`.
  func withLock<Result, E: Error>(on range: GuestRange, exclusive: Bool, _ body: () throws(E) -> Result) throws(E)
    -> Result
  {
    let (entry, isBlocked) = state.withLock { state in
      state.nextID += 1
      let entry = Entry(
        id: state.nextID, bytes: range, clusters: range.roundedOut(to: unit), isExclusive: exclusive)
      state.entries.append(entry)
      return (entry, state.isBlocked(entry))
    }
    defer { state.withLock { state in state.entries.removeAll { $0.id == entry.id } } }
    if isBlocked { state.wait { $0.isBlocked(entry) ? nil : () } }
    return try body()
  }
}
