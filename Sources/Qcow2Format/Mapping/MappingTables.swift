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
  /// How many L2 tables may stay.
  private let capacity: Int
  let state: Monitor<State>

  struct State {
    /// The L1 entries: offset and the copied flag.
    var l1: [UInt64]
    var tables: [Int: L2Table] = [:]
    var loading: Set<Int> = []
    var clock = 0
    /// What was published since the last freeze; see `Epoch`.
    var changedL1: Set<Int> = []
    var dropped: [HostRange] = []
  }

  struct L2Table {
    var words: [UInt64]
    var home: HostOffset
    /// The L1 entry on the host does not point to `home` yet.
    var isNew = false
    /// The words that differ from the host.
    var changed: Range<Int>?
    /// A running flush writes it.
    var isFrozen = false
    var lastUse = 0
  }

  init(header: Qcow2Header, storage: any Storage, cacheLimit: ByteCount) throws(ImageError) {
    self.header = header
    self.storage = storage
    rules = EntryRules(header)
    capacity = max(4, cacheLimit.bytes / header.clusterSize.bytes)
    let bytes: [UInt8]
    do {
      bytes = try storage.bytes(ByteCount(header.l1Count * 8), at: header.l1Offset)
    } catch {
      throw ImageError(error)
    }
    guard bytes.count == header.l1Count * 8 else {
      throw ImageError(.corrupt, path: storage.path, reason: "its L1 table is cut off")
    }
    state = Monitor(State(l1: BigEndian.words(in: bytes.span)))
  }

  /// The run at `offset`, at most `limit` bytes and within one L2 table.
  func run(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run {
    let (position, limit) = reach(of: offset, limit: limit)
    return try withTable(position.l1Index) { (state) throws(ImageError) in
      guard let words = state.tables[position.l1Index]?.words else {
        return Run(.unallocated, count: ByteCount(limit))
      }
      return try self.run(in: words, at: offset, position, limit: limit)
    }
  }

  /// The data at `offset` as far as it lies in one piece in clusters that nothing else uses; nil where there is none.
  func ownData(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> (HostOffset, ByteCount)? {
    let (position, limit) = reach(of: offset, limit: limit)
    return try withTable(position.l1Index) { (state) throws(ImageError) in
      guard let words = state.tables[position.l1Index]?.words else { return nil }
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

  private func run(in words: [UInt64], at offset: GuestOffset, _ position: TablePosition, limit: Int)
    throws(ImageError) -> Run
  {
    do throws(EntryFault) {
      return try rules.run(in: words, entry: position.entry, offsetInCluster: position.offsetInCluster, limit: limit)
    } catch {
      throw corrupt("the mapping of its guest offset \(offset.bytes) has \(error.reason)", at: offset)
    }
  }

  /// Calls `body` under the lock when the table is among `tables`, or the L1 entry is empty. Loads it first if need be.
  func withTable<Result>(_ index: Int, _ body: (inout State) throws(ImageError) -> Result) throws(ImageError) -> Result
  {
    while true {
      let step = try state.withLock { (state) throws(ImageError) -> Step<Result> in
        state.clock += 1
        state.tables[index]?.lastUse = state.clock
        let isEmpty = index >= state.l1.count || state.l1[index] & L2Entry.Bits.offset == 0
        if isEmpty || state.tables[index] != nil { return .done(try body(&state)) }
        if !state.loading.insert(index).inserted { return .wait }
        return .load(state.l1[index])
      }
      switch step {
      case .done(let result): return result
      case .wait: state.wait { $0.loading.contains(index) ? nil : () }
      case .load(let l1Entry): try load(index, l1Entry)
      }
    }
  }

  private enum Step<Result> {
    case done(Result)
    case wait
    case load(UInt64)
  }

  private func load(_ index: Int, _ l1Entry: UInt64) throws(ImageError) {
    let home = HostOffset(Int(l1Entry & L2Entry.Bits.offset))
    var table: L2Table?
    defer {
      state.withLock { state in
        state.loading.remove(index)
        if let table { state.insert(table, at: index, capacity: capacity) }
      }
    }
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
    table = L2Table(words: BigEndian.words(in: bytes.span), home: home)
  }

  private func reach(of index: Int) -> GuestOffset { GuestOffset(index * header.l2Reach.bytes) }

  func corrupt(_ reason: String, at offset: GuestOffset?) -> ImageError {
    ImageError(.corrupt, path: storage.path, reason: reason, offset: offset)
  }
}

extension MappingTables.State {
  /// Adds a table; where there are too many, the quarter that was used longest ago goes, as far as the host has the same.
  mutating func insert(_ table: MappingTables.L2Table, at index: Int, capacity: Int) {
    clock += 1
    tables[index] = table
    tables[index]?.lastUse = clock
    guard tables.count > capacity else { return }
    let idle = tables.filter { $0.key != index && $0.value.changed == nil && !$0.value.isNew && !$0.value.isFrozen }
    for (old, _) in idle.sorted(by: { $0.value.lastUse < $1.value.lastUse }).prefix(max(1, capacity / 4)) {
      tables[old] = nil
    }
  }
}
