/// What may be on the disk after a crash: a storage's first content and the log of what was then asked of it, played
/// again with every loss that the host is allowed.
///
/// The rules are HostStorage's: a sync is a barrier; since the last one, every 512-byte sector holds some version that
/// it had since then, independently of all others, and so does the file's size. A write torn at sectors, a write lost
/// while a later one survives, a size that did not grow: all are cases of this. Two unsynced writes to one sector reach
/// the disk in their order, since the host keeps one copy of it.
package struct CrashReplay: Sendable {
  private let initial: SparseBytes
  private let log: [StorageOperation]

  package init(initial: SparseBytes, log: [StorageOperation]) {
    self.initial = initial
    self.log = log
  }

  /// A state that the disk may be found in.
  package struct State {
    /// How many operations of the log had begun: whatever a test knows to have ended before that point must hold.
    package let position: Int
    /// Distinguishes the states of one position; with the replay's seed it makes the state again.
    package let number: Int
    package let storage: MemoryStorage
  }

  /// Hands `body` about `limit` states, spread over the positions from none of the log to all of it; at least one for each
  /// position. Where a position has no more states than its share, these are all of them, otherwise a seeded
  /// choice: lost and surviving operations, and sectors one by one.
  package func states(limit: Int, seed: UInt64, _ body: (State) throws -> Void) rethrows {
    let share = max(1, limit / (log.count + 1))
    var epoch = Epoch(durable: initial)
    for position in 0...log.count {
      if position > 0 { epoch.add(log[position - 1]) }
      var random = SeededRandom(seed: seed ^ UInt64(position))
      for (number, choice) in epoch.choices(atMost: share, using: &random).enumerated() {
        let storage = MemoryStorage(epoch.content(choice), path: "crash at \(position), state \(number)")
        try body(State(position: position, number: number, storage: storage))
      }
    }
  }
}

/// What has happened since the last sync: the versions of each sector and of the size, oldest first; the first is the
/// durable one.
private struct Epoch {
  static let sector = 512

  private var durable: SparseBytes
  private var newest: SparseBytes
  private var sizes: [Version<Int>]
  private var sectors: [Int: [Version<[UInt8]>]] = [:]
  /// Operations since the sync.
  private var operations = 0

  struct Version<Value> {
    var operation: Int
    var value: Value
  }

  /// Which version of the size, and of each sector that has several.
  struct Choice {
    var size: Int
    var sectors: [Int: Int]
  }

  init(durable: SparseBytes) {
    self.durable = durable
    newest = durable
    sizes = [Version(operation: 0, value: durable.size)]
  }

  mutating func add(_ operation: StorageOperation) {
    if operation == .sync {
      self = Epoch(durable: newest)
      return
    }
    operations += 1
    let before = newest
    operation.apply(to: &newest)
    if newest.size != before.size { sizes.append(Version(operation: operations, value: newest.size)) }
    for start in touched(by: operation, before: before) {
      let sector = start..<(start + Self.sector)
      let (old, new) = (before.bytes(in: sector), newest.bytes(in: sector))
      if old == new { continue }
      sectors[start, default: [Version(operation: 0, value: old)]].append(Version(operation: operations, value: new))
    }
  }

  /// The sectors that an operation may have changed.
  private func touched(by operation: StorageOperation, before: SparseBytes) -> [Int] {
    switch operation {
    case .write(let bytes, let offset) where !bytes.isEmpty:
      Array(stride(from: offset / Self.sector * Self.sector, to: offset + bytes.count, by: Self.sector))
    default:
      before.units(of: Self.sector, in: operation.range)
    }
  }

  func content(_ choice: Choice) -> SparseBytes {
    var content = durable
    for (start, version) in choice.sectors where version > 0 {
      if let bytes = sectors[start]?[version].value { content.overlay(bytes[...], at: start) }
    }
    content.resize(to: sizes[choice.size].value)
    return content
  }

  func choices(atMost limit: Int, using random: inout SeededRandom) -> [Choice] {
    let starts = sectors.keys.sorted()
    let counts = [sizes.count] + starts.map { sectors[$0]?.count ?? 0 }
    var total = 1
    for count in counts where total <= limit { total *= count }
    if total <= limit { return (0..<total).map { everyChoice($0, starts, counts) } }

    // A small share is better spent on losses: nothing lost and everything lost come up at other positions.
    var choices = limit < 4 ? [] : [upTo { _ in true }, upTo { _ in false }]
    while choices.count < limit { choices.append(someChoice(starts, counts, using: &random)) }
    return choices
  }

  /// The digits of `number`, the version counts being their bases.
  private func everyChoice(_ number: Int, _ starts: [Int], _ counts: [Int]) -> Choice {
    var rest = number
    let digits = counts.map { count in
      defer { rest /= count }
      return rest % count
    }
    return Choice(size: digits[0], sectors: Dictionary(uniqueKeysWithValues: zip(starts, digits.dropFirst())))
  }

  private func someChoice(_ starts: [Int], _ counts: [Int], using random: inout SeededRandom) -> Choice {
    switch Int.random(in: 0..<5, using: &random) {
    case 0:  // Whole operations survive or not.
      var survivors = Set<Int>()
      for operation in 1...operations where Bool.random(using: &random) { survivors.insert(operation) }
      return upTo(survivors.contains)
    case 1:  // One operation is lost.
      let lost = Int.random(in: 1...operations, using: &random)
      return upTo { $0 != lost }
    case 2:  // One operation survives.
      let survivor = Int.random(in: 1...operations, using: &random)
      return upTo { $0 == survivor }
    case 3:  // Nothing is lost that had begun before some moment, and all after it.
      let moment = Int.random(in: 0...operations, using: &random)
      return upTo { $0 <= moment }
    default:
      let digits = counts.map { Int.random(in: 0..<$0, using: &random) }
      return Choice(size: digits[0], sectors: Dictionary(uniqueKeysWithValues: zip(starts, digits.dropFirst())))
    }
  }

  /// Of everything the newest version that a surviving operation made.
  private func upTo(_ survives: (Int) -> Bool) -> Choice {
    Choice(
      size: sizes.lastIndex { $0.operation == 0 || survives($0.operation) } ?? 0,
      sectors: sectors.mapValues { versions in
        versions.lastIndex { $0.operation == 0 || survives($0.operation) } ?? 0
      })
  }
}
