import HostStorage
import ImageFormat

/// Mappings that were published up to a moment, as they stood then: what one flush makes durable.
///
/// The arrays are shared with the live tables until those change, so freezing copies nothing by itself.
struct Epoch {
  struct Table {
    let index: Int
    let words: SparseWords
    let home: HostOffset
    let isNew: Bool
    let changed: Range<Int>
  }

  var tables: [Table]
  var l1: [(index: Int, entry: UInt64)]
  /// Host ranges that these mappings no longer point to.
  var dropped: [HostRange]
}

// Changing mappings. The caller holds the guest range exclusively, so that between two calls here nobody else changes
// the same entries.
extension MappingTables {
  /// The entry of the cluster at `offset`, checked.
  func entry(at offset: GuestOffset) throws(ImageError) -> L2Entry {
    let position = header.position(of: offset)
    let entry = try withTable(position.l1Index) { (state, place) throws(ImageError) in
      place.map { self.rules.entry(position.entry, in: state.tables[$0].words) } ?? .unallocated
    }
    do throws(EntryFault) {
      if let reason = rules.fault(in: entry) { throw EntryFault(reason: reason) }
      if rules.hasHostCluster(entry) {
        try rules.checkPlace(entry.hostOffset, of: offset.roundedDown(to: header.clusterSize))
      }
      return entry
    } catch {
      throw corrupt("the mapping of its guest offset \(offset.bytes) has \(error.reason)", at: offset)
    }
  }

  /// Whether the L2 table for `offset` exists and is used by the active mapping alone.
  func hasOwnTable(for offset: GuestOffset) throws(ImageError) -> Bool {
    let index = header.position(of: offset).l1Index
    return try withTable(index) { (state, _) throws(ImageError) in state.hasOwnTable(index) }
  }

  /// Gives the L2 table for `offset` the new `home`: an empty table where there was none, a copy of one that a snapshot
  /// shares. Returns false where another thread was faster.
  func adoptTable(for offset: GuestOffset, at home: HostOffset) throws(ImageError) -> Bool {
    let index = header.position(of: offset).l1Index
    return try withTable(index) { (state, place) throws(ImageError) in
      if state.hasOwnTable(index) { return false }
      let shared = place.map { state.tables[$0] }
      if let shared { state.dropped.append(HostRange(at: shared.home, count: self.header.clusterSize)) }
      let empty = SparseWords(count: self.header.clusterSize.bytes / 8)
      state.tables.insert(L2Table(words: shared?.words ?? empty, home: home, isNew: true), at: index)
      state.l1[index] = UInt64(home.bytes) | L2Entry.Bits.copied
      state.changedL1.insert(index)
      return true
    }
  }

  /// Publishes `change` of the entries of `count` clusters from `offset` on, which lie in one table that exists. What
  /// `change` says is dropped goes into the same epoch as the entries.
  func update(
    clusters count: Int, at offset: GuestOffset,
    _ change: (_ cluster: Int, _ entry: L2Entry) -> (entry: L2Entry, dropped: HostRange?)
  ) throws(ImageError) {
    let position = header.position(of: offset)
    try withTable(position.l1Index) { (state, place) throws(ImageError) in
      guard let place, position.entry + count <= self.header.entriesPerL2 else {
        preconditionFailure("the table was not prepared")
      }
      for cluster in 0..<count {
        let index = position.entry + cluster
        let old = self.rules.entry(index, in: state.tables[place].words)
        let (new, dropped) = change(cluster, old)
        if let dropped { state.dropped.append(dropped) }
        if new != old { state.tables.change(place) { $0.store(new, at: index, rules: self.rules) } }
      }
    }
  }

  /// Takes what was published since the last freeze.
  func freeze() -> Epoch {
    state.withLock { state in
      var epoch = Epoch(tables: [], l1: [], dropped: state.dropped)
      state.tables.changeAll { index, table in
        guard table.state.isDue, let changed = table.changed else { return }
        epoch.tables.append(
          Epoch.Table(
            index: index, words: table.words, home: table.home, isNew: table.state == .new, changed: changed))
        table.changed = nil
        table.state.note(.freeze)
      }
      epoch.l1 = state.changedL1.sorted().map { ($0, state.l1[$0]) }
      state.changedL1 = []
      state.dropped = []
      return epoch
    }
  }

  /// The epoch is durable: its tables may be let go again.
  func thaw(_ epoch: Epoch) {
    state.withLock { state in
      for frozen in epoch.tables { state.tables.change(frozen.index) { $0.state.note(.durable) } }
      state.tables.shrink()
    }
  }

  /// The epoch did not become durable: its changes go into the next one. Where its new tables did, L1 entries on the host may
  /// point to them already: from now on they are changed like any other, when what they will map is durable.
  func restore(_ epoch: Epoch, newTablesAreDurable: Bool = false) {
    state.withLock { state in
      for frozen in epoch.tables {
        state.tables.change(frozen.index) { table in
          table.changed = frozen.changed.union(table.changed)
          table.state.note(newTablesAreDurable ? .failedWhenLinked : .failed)
        }
      }
      state.changedL1.formUnion(epoch.l1.map(\.index))
      state.dropped = epoch.dropped + state.dropped
    }
  }
}

extension MappingTables.State {
  /// Whether the table exists and no snapshot shares it.
  func hasOwnTable(_ index: Int) -> Bool {
    tables[index] != nil && l1[index] & L2Entry.Bits.copied != 0
  }
}

extension L2Table {
  fileprivate mutating func store(_ entry: L2Entry, at index: Int, rules: EntryRules) {
    rules.store(entry, at: index, in: &words)
    let width = rules.wordsPerEntry
    changed = (index * width..<(index + 1) * width).union(changed)
    state.note(.change)
  }
}

extension Range<Int> {
  /// The smallest range that covers both.
  fileprivate func union(_ other: Range<Int>?) -> Range<Int> {
    guard let other else { return self }
    return Swift.min(lowerBound, other.lowerBound)..<Swift.max(upperBound, other.upperBound)
  }
}
