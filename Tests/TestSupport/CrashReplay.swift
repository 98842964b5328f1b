/// What may be on the host after a crash: the storages' first contents and the log of what was then asked of them, played
/// again with every loss that the host is allowed.
///
/// The rules are HostStorage's: a sync is a barrier for its own file; since the last one, every 512-byte sector holds some
/// version that it had since then, independently of all others, and so does each file's size. A write torn at sectors, a
/// write lost while a later one survives, a size that did not grow: all are cases of this. A sector that was punched is old or
/// zero. Two unsynced writes to one sector reach the disk in their order, since the host keeps one copy of it. A sector is
/// never torn inside, and what was synced is never lost: a disk that lies is outside of this.
package struct CrashReplay: Sendable {
  private let initial: [SparseBytes]
  private let log: [StorageJournal.Entry]

  /// `initial`: by the numbers that the files have in `log`.
  package init(initial: [SparseBytes], log: [StorageJournal.Entry]) {
    self.initial = initial
    self.log = log
  }

  package init(initial: SparseBytes, log: [StorageOperation]) {
    self.init(initial: [initial], log: log.map { StorageJournal.Entry($0) })
  }

  /// A state that the host may be found in.
  package struct State {
    /// How many operations of the log had begun: whatever a test knows to have ended before that point must hold.
    package let position: Int
    /// Distinguishes the states of one position; with the replay's seed it makes the state again.
    package let number: Int
    package let contents: [SparseBytes]

    /// The first file.
    package var storage: MemoryStorage {
      MemoryStorage(contents[0], path: "crash at \(position), state \(number)")
    }

    package var contentHash: Int {
      contents.reduce(0) { sum, content in sum &* 31 &+ content.contentHash }
    }
  }

  /// Hands `body` about `limit` states, spread evenly over the positions from none of the log to all of it.
  package func states(limit: Int, seed: UInt64, _ body: (State) throws -> Void) rethrows {
    try states(perPosition: max(1, limit / (log.count + 1)), seed: seed, body)
  }

  /// Hands `body` at most `share` states for each position from none of the log to all of it, or to those in `positions`.
  /// Where a position has no more states than that, these are all of them; otherwise a seeded choice: nothing lost, all lost, all
  /// subsets of a few operations, the first sector torn off, lost and surviving operations, and sectors one by one.
  package func states(
    perPosition share: Int, in positions: Range<Int>? = nil, seed: UInt64, _ body: (State) throws -> Void
  ) rethrows {
    var epoch = CrashEpoch(durable: initial)
    for position in 0...log.count {
      if position > 0 { epoch.add(log[position - 1]) }
      if let positions, !positions.contains(position) { continue }
      var random = SeededRandom(seed: seed ^ UInt64(position))
      for (number, choice) in epoch.choices(atMost: share, using: &random).enumerated() {
        try body(State(position: position, number: number, contents: epoch.contents(choice)))
      }
    }
  }
}
