import HostStorage

/// An L2 table in memory.
struct L2Table {
  var words: SparseWords
  var home: HostOffset
  var state: WriteState
  /// The words that differ from the host, or from what a running flush writes; all of a new table's.
  var changed: Range<Int>?
  fileprivate var lastUse = 0

  /// One that the host has, or a new one.
  init(words: SparseWords, home: HostOffset, isNew: Bool = false) {
    self.words = words
    self.home = home
    state = isNew ? .new : .clean
    changed = isNew ? 0..<words.count : nil
  }

  fileprivate var isIdle: Bool { state == .clean }

  /// What it takes of the budget: nothing while it must stay, for then letting others go would not help.
  fileprivate var charge: Int { isIdle ? words.bytes + Self.overhead : 0 }
  /// What a table costs beyond its words.
  private static let overhead = 128
}

/// The L2 tables in memory, by L1 index, and how many bytes those take that may be let go.
///
/// Tables that the host has not got are never let go, whatever the limit, and come on top.
struct TableCache {
  /// Where a table is, until the next one comes or goes.
  typealias Place = Dictionary<Int, L2Table>.Index

  /// Idle tables that stay whatever the limit, lest requests that alternate load one each time.
  private static let fewest = 4

  private let budget: TableBudget
  private var tables: [Int: L2Table] = [:]
  private(set) var bytes = 0
  private var clock = 0

  init(budget: TableBudget) { self.budget = budget }

  subscript(index: Int) -> L2Table? { tables[index] }

  subscript(place: Place) -> L2Table { tables.values[place] }

  /// Finds a table that is about to be used.
  mutating func use(_ index: Int) -> Place? {
    guard let place = tables.index(forKey: index) else { return nil }
    clock += 1
    tables.values[place].lastUse = clock
    return place
  }

  /// Adds a table, or puts it in another's place.
  @discardableResult
  mutating func insert(_ table: L2Table, at index: Int) -> Place? {
    let old = tables.updateValue(table, forKey: index)
    take(table.charge - (old?.charge ?? 0))
    return use(index)
  }

  /// Changes the table at `place` in any way.
  mutating func change(_ place: Place, _ body: (inout L2Table) -> Void) {
    let before = tables.values[place].charge
    body(&tables.values[place])
    take(tables.values[place].charge - before)
  }

  /// Changes table number `index`, if it is there.
  mutating func change(_ index: Int, _ body: (inout L2Table) -> Void) {
    if let place = tables.index(forKey: index) { change(place, body) }
  }

  /// Changes all of them.
  mutating func changeAll(_ body: (_ index: Int, inout L2Table) -> Void) {
    var place = tables.startIndex
    while place < tables.endIndex {
      let index = tables.keys[place]
      change(place) { body(index, &$0) }
      tables.formIndex(after: &place)
    }
  }

  /// Where the tables take too much, the ones that were used longest ago go, a quarter of the limit at least, so that it is
  /// not soon again.
  mutating func shrink() {
    guard budget.isExceeded, bytes > budget.share else { return }
    let idle = tables.compactMap { $0.value.isIdle ? ($0.key, $0.value.lastUse) : nil }.sorted { $0.1 < $1.1 }
    for (index, _) in idle.dropLast(Self.fewest) {
      if budget.hasRoom || bytes <= budget.share / 4 * 3 { break }
      if let old = tables.removeValue(forKey: index) { take(-old.charge) }
    }
  }

  /// Lets all go, for nobody uses them any more.
  mutating func close() {
    tables = [:]
    take(-bytes)
  }

  private mutating func take(_ more: Int) {
    if more == 0 { return }
    bytes += more
    budget.take(more)
  }
}
