import HostStorage
import ImageFormat

/// The refcounts that one flush writes.
struct FrozenCounts {
  struct Block {
    let index: Int
    let bytes: [UInt8]
    let home: HostOffset
  }

  var blocks: [Block]
  /// The refcount table as it stood, and which of its entries the host lacks.
  var table: [UInt64]
  var tableHome: HostOffset
  var entries: [Int]
  /// Where a new table goes; the header does not point there yet.
  var movedTable: HostRange?
  /// The tables that it replaces.
  var replaced: [HostRange]
  var clusterSize: ByteCount
}

extension Refcounts {
  func freeze() -> FrozenCounts {
    state.withLock { state in
      var frozen = FrozenCounts(
        blocks: [], table: state.table, tableHome: state.tableHome, entries: state.changedEntries.sorted(),
        movedTable: nil, replaced: state.replacedTables, clusterSize: header.clusterSize)
      if state.tableHasMoved {
        frozen.movedTable = HostRange(at: state.tableHome, count: header.clusterSize * state.tableClusters)
      }
      for (index, block) in state.blocks where block.state.isDue {
        frozen.blocks.append(FrozenCounts.Block(index: index, bytes: block.bytes, home: block.home))
        state.blocks[index]?.state.note(.freeze)
      }
      state.changedEntries = []
      state.tableHasMoved = false
      state.replacedTables = []
      return frozen
    }
  }

  /// Blocks and table are durable; the tables that were replaced are no longer pointed to.
  func thaw(_ frozen: FrozenCounts) {
    state.withLock { state in
      for block in frozen.blocks { state.blocks[block.index]?.state.note(.durable) }
      state.quarantine.admit(frozen.replaced)
    }
  }

  /// They did not become durable: the next flush writes them again.
  func restore(_ frozen: FrozenCounts) {
    state.withLock { state in
      for block in frozen.blocks { state.blocks[block.index]?.state.note(.failed) }
      state.changedEntries.formUnion(frozen.entries)
      if frozen.movedTable != nil { state.tableHasMoved = true }
      state.replacedTables = frozen.replaced + state.replacedTables
    }
  }

  /// Takes what durable mappings no longer point to into quarantine.
  func admit(_ dropped: [HostRange]) {
    state.withLock { $0.quarantine.admit(dropped) }
  }

  /// Decrements what has drained in the quarantine; clusters that become free are punched first, when nobody can have
  /// taken them yet. Called with the flush's turn held, so that no other release is under way.
  ///
  /// A count that cannot be read stays as it is, and its cluster in quarantine.
  func release(drainedBy requests: RequestTracker, punching storage: (any Storage)?) throws(ImageError) {
    var drops: [(cluster: Int, count: UInt64)] = []
    defer {
      // What is left could not be released now.
      state.withLock { state in
        state.quarantine.admit(
          drops.flatMap { Array(repeating: state.range(of: $0.cluster..<($0.cluster + 1)), count: Int($0.count)) })
      }
    }
    let free = try state.withLock { (state) throws(ImageError) in
      var sums: [Int: UInt64] = [:]
      for range in state.quarantine.takeDrained(requests) {
        for cluster in state.clusters(of: range) { sums[cluster, default: 0] += 1 }
      }
      drops = sums.sorted { $0.key > $1.key }.map { ($0.key, $0.value) }
      var free: [Int] = []
      for (cluster, count) in drops.reversed() where try state.count(of: cluster) == count { free.append(cluster) }
      return free
    }
    if let storage { punch(free, in: storage) }
    try state.withLock { (state) throws(ImageError) in
      while let (cluster, count) = drops.last {
        try state.decrement(cluster, by: count)
        drops.removeLast()
      }
    }
  }

  /// Space that cannot be given back only stays taken: not an error.
  private func punch(_ clusters: [Int], in storage: any Storage) {
    var rest = clusters[...]
    while let first = rest.first {
      let row = zip(rest, first...).prefix { $0 == $1 }.count
      let range = HostRange(at: HostOffset(first << header.clusterBits), count: header.clusterSize * row)
      try? storage.punch(range)
      rest = rest.dropFirst(row)
    }
  }

  var hasQuarantine: Bool { state.withLock { !$0.quarantine.isEmpty } }
  /// Whether the host lacks a count.
  var isChanged: Bool { state.withLock { state in state.blocks.contains { $0.value.state.isDue } } }
}
