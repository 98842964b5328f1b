import HostStorage
import ImageFormat

/// The L1 table and the L2 tables in use: where every guest cluster is.
///
/// L2 tables are loaded when they are needed, one thread a table, without the lock; tables that differ from the host stay
/// until a flush has written them. A table is known by its L1 index, never by its host offset, so that one that moves keeps
/// its identity.
final class MappingTables: Sendable {
  let header: Qcow2Header
  let rules: EntryRules
  let storage: any Storage
  let state: Monitor<State>

  struct State {
    /// The L1 entries: offset and the copied flag.
    var l1: [UInt64]
    var tables: TableCache
    var loading: Set<Int> = []
    /// What was published since the last freeze; see `Epoch`.
    var changedL1: Set<Int> = []
    var dropped: [HostRange] = []
  }

  init(header: Qcow2Header, storage: any Storage, budget: TableBudget) throws(ImageError) {
    self.header = header
    self.storage = storage
    rules = EntryRules(header)
    let bytes: [UInt8]
    do {
      bytes = try storage.bytes(ByteCount(header.l1Count * 8), at: header.l1Offset)
    } catch {
      throw ImageError(error)
    }
    guard bytes.count == header.l1Count * 8 else {
      throw ImageError(.corrupt, path: storage.path, reason: "its L1 table is cut off")
    }
    state = Monitor(State(l1: BigEndian.words(in: bytes.span), tables: TableCache(budget: budget)))
  }

  deinit { state.withLock { $0.tables.close() } }

  /// The run at `offset`, at most `limit` bytes and within one L2 table.
  func run(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run {
    let (position, limit) = reach(of: offset, limit: limit)
    return try withTable(position.l1Index) { (state, place) throws(ImageError) in
      guard let place else { return Run(.unallocated, count: ByteCount(limit)) }
      return try self.run(in: state.tables[place].words, at: offset, position, limit: limit)
    }
  }

  /// The data at `offset` as far as it lies in one piece in clusters that nothing else uses; nil where there is none.
  func ownData(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> (HostOffset, ByteCount)? {
    let (position, limit) = reach(of: offset, limit: limit)
    return try withTable(position.l1Index) { (state, place) throws(ImageError) in
      guard let words = place.map({ state.tables[$0].words }) else { return nil }
      let run = try self.run(in: words, at: offset, position, limit: limit)
      guard case .data(let host) = run.mapping else { return nil }
      var entry = position.entry
      var count = -position.offsetInCluster
      while count < run.count.bytes, self.rules.entry(entry, in: words).isCopied {
        entry += 1
        count += self.header.clusterSize.bytes
      }
      return count > 0 ? (host, min(ByteCount(count), run.count)) : nil
    }
  }

  /// Where `offset` is looked up, and how many of `limit` bytes its table can tell of.
  private func reach(of offset: GuestOffset, limit: ByteCount) -> (TablePosition, limit: Int) {
    let position = header.position(of: offset)
    let rest = (header.entriesPerL2 - position.entry) * header.clusterSize.bytes - position.offsetInCluster
    return (position, min(limit.bytes, rest))
  }

  private func run(in words: SparseWords, at offset: GuestOffset, _ position: TablePosition, limit: Int)
    throws(ImageError) -> Run
  {
    do throws(EntryFault) {
      let run = try rules.run(in: words, entry: position.entry, offsetInCluster: position.offsetInCluster, limit: limit)
      if case .data(let host) = run.mapping { try rules.checkPlace(host, of: offset) }
      return run
    } catch {
      throw corrupt("the mapping of its guest offset \(offset.bytes) has \(error.reason)", at: offset)
    }
  }

  /// Calls `body` under the lock with the table, which is loaded first if need be, or with nil when the L1 entry is empty.
  func withTable<Result>(_ index: Int, _ body: (inout State, TableCache.Place?) throws(ImageError) -> Result)
    throws(ImageError) -> Result
  {
    while true {
      let step = try state.withLock { (state) throws(ImageError) -> Step<Result> in
        if let place = state.tables.use(index) { return .done(try body(&state, place)) }
        // One that has lost its offset to other bits is no empty one.
        let isEmpty = index >= state.l1.count || state.l1[index] & ~L2Entry.Bits.copied == 0
        if isEmpty { return .done(try body(&state, nil)) }
        if !state.loading.insert(index).inserted { return .wait }
        return .load(state.l1[index])
      }
      switch step {
      case .done(let result): return result
      case .wait: state.wait { $0.loading.contains(index) ? nil : () }
      case .load(let l1Entry): return try load(index, l1Entry, body)
      }
    }
  }

  private enum Step<Result> {
    case done(Result)
    case wait
    case load(UInt64)
  }

  /// Loads the table and calls `body` with it, before anybody can have let it go again.
  private func load<Result>(
    _ index: Int, _ l1Entry: UInt64, _ body: (inout State, TableCache.Place?) throws(ImageError) -> Result
  ) throws(ImageError) -> Result {
    let table: L2Table
    do throws(ImageError) {
      table = try read(index, l1Entry)
    } catch {
      state.withLock { _ = $0.loading.remove(index) }
      throw error
    }
    return try state.withLock { (state) throws(ImageError) in
      state.loading.remove(index)
      defer { state.tables.shrink() }
      return try body(&state, state.tables.insert(table, at: index))
    }
  }

  private func read(_ index: Int, _ l1Entry: UInt64) throws(ImageError) -> L2Table {
    let home = HostOffset(Int(l1Entry & L2Entry.Bits.offset))
    let size = header.clusterSize
    guard l1Entry & 0x7F00_0000_0000_01FF == 0, home.bytes % size.bytes == 0 else {
      throw corrupt("L1 entry \(index) has reserved bits or an offset that is not a cluster's", at: reach(of: index))
    }
    let bytes: [UInt8]
    do {
      bytes = try storage.bytes(size, at: home)
    } catch {
      throw ImageError(error)
    }
    guard bytes.count == size.bytes else {
      throw corrupt("L2 table \(index) lies past the end of the file", at: reach(of: index))
    }
    return L2Table(words: SparseWords(BigEndian.words(in: bytes.span)), home: home)
  }

  private func reach(of index: Int) -> GuestOffset { GuestOffset(index * header.l2Reach.bytes) }

  func corrupt(_ reason: String, at offset: GuestOffset?) -> ImageError {
    ImageError(.corrupt, path: storage.path, reason: reason, offset: offset)
  }
}
