import HostStorage
import ImageFormat

/// How often each host cluster is used, and which are free.
///
/// Increments are made here at once and reach the host before the mapping that needs them; decrements come from the
/// quarantine only. A count here is therefore never below what the host's mappings need: a crash leaks at worst.
final class Refcounts: Sendable {
  let header: Qcow2Header
  let storage: any Storage
  let state: Lock<State>

  /// Positions are cluster numbers.
  struct State {
    let header: Qcow2Header
    let storage: any Storage
    /// The refcount table: where each block is, 0 for none.
    var table: [UInt64]
    var tableHome: HostOffset
    var tableClusters: Int
    /// The header on the host does not point to `tableHome` yet.
    var tableHasMoved = false
    /// Entries of the table that differ from the host.
    var changedEntries: Set<Int> = []
    var blocks: [Int: RefcountBlock] = [:]
    /// No cluster below is free, as far as is known.
    var firstFree = 0
    /// Tables that a larger one replaced; they may go when the header no longer points to them.
    var replacedTables: [HostRange] = []
    var quarantine = Quarantine()
    /// Clusters that hold metadata of the image.
    var metadata: Set<Int> = []
  }

  /// Clean blocks that stay; a block is one cluster, and covers thousands of clusters.
  static let cachedBlocks = 64

  init(header: Qcow2Header, storage: any Storage) throws(ImageError) {
    self.header = header
    self.storage = storage
    let size = header.clusterSize * header.refcountTableClusters
    let bytes: [UInt8]
    do {
      bytes = try storage.bytes(size, at: header.refcountTableOffset)
    } catch {
      throw ImageError(error)
    }
    guard header.refcountTableClusters > 0, header.refcountTableOffset.bytes > 0, bytes.count == size.bytes else {
      throw ImageError(.corrupt, path: storage.path, reason: "its refcount table lies outside the file")
    }
    state = Lock(
      State(
        header: header, storage: storage, table: BigEndian.words(in: bytes.span),
        tableHome: header.refcountTableOffset, tableClusters: header.refcountTableClusters))
  }

  /// Takes between 1 and `wanted` clusters in a row, each with a refcount of 1.
  func allocate(upTo wanted: Int) throws(ImageError) -> HostRange {
    try state.withLock { (state) throws(ImageError) in try state.allocate(upTo: wanted) }
  }

  /// Takes one cluster for a table and makes sure that the host has room for it, so that a flush cannot fail for want of it.
  func allocateTable() throws(ImageError) -> HostOffset {
    try state.withLock { (state) throws(ImageError) in
      let range = try state.allocate(upTo: 1)
      do throws(ImageError) {
        try state.reserve(range)
      } catch {
        for cluster in state.clusters(of: range) { try state.decrement(cluster) }
        throw error
      }
      state.metadata.formUnion(state.clusters(of: range))
      return range.start
    }
  }

  /// Gives back clusters that no mapping has ever pointed to.
  func giveBack(_ range: HostRange) throws(ImageError) {
    try state.withLock { (state) throws(ImageError) in
      for cluster in state.clusters(of: range) { try state.decrement(cluster) }
    }
  }

  func count(ofClusterAt offset: HostOffset) throws(ImageError) -> UInt64 {
    try state.withLock { (state) throws(ImageError) in try state.count(of: offset.bytes >> header.clusterBits) }
  }
}

extension Refcounts.State {
  func clusters(of range: HostRange) -> Range<Int> {
    let bits = header.clusterBits
    return (range.start.bytes >> bits)..<((range.end.bytes + header.clusterSize.bytes - 1) >> bits)
  }

  func range(of clusters: Range<Int>) -> HostRange {
    HostRange(
      at: HostOffset(clusters.lowerBound << header.clusterBits), count: header.clusterSize * clusters.count)
  }

  func corrupt(_ reason: String) -> ImageError { ImageError(.corrupt, path: storage.path, reason: reason) }

  mutating func count(of cluster: Int) throws(ImageError) -> UInt64 {
    let (block, index) = cluster.quotientAndRemainder(dividingBy: header.refcountsPerBlock)
    guard try load(block) else { return 0 }
    return blocks[block]?[index] ?? 0
  }

  mutating func set(_ count: UInt64, of cluster: Int) throws(ImageError) {
    let (block, index) = cluster.quotientAndRemainder(dividingBy: header.refcountsPerBlock)
    guard try load(block) else { throw corrupt("cluster \(cluster) has no refcount block") }
    blocks[block]?[index] = count
    if count == 0 {
      firstFree = min(firstFree, cluster)
      metadata.remove(cluster)
    }
  }

  mutating func decrement(_ cluster: Int, by count: UInt64 = 1) throws(ImageError) {
    let old = try self.count(of: cluster)
    guard old >= count else { throw corrupt("the refcount of cluster \(cluster) would fall below 0") }
    try set(old - count, of: cluster)
  }

  /// Brings a block into memory; false where the table has none.
  mutating func load(_ block: Int) throws(ImageError) -> Bool {
    if blocks[block] != nil { return true }
    guard block < table.count, table[block] != 0 else { return false }
    guard let home = header.clusterOffset(table[block]) else {
      throw corrupt("refcount table entry \(block) is not a cluster's offset")
    }
    let bytes: [UInt8]
    do {
      bytes = try storage.bytes(header.clusterSize, at: home)
    } catch {
      throw ImageError(error)
    }
    guard bytes.count == header.clusterSize.bytes else {
      throw corrupt("refcount block \(block) lies past the end of the file")
    }
    makeRoom()
    blocks[block] = RefcountBlock(bytes: bytes, order: header.refcountOrder, home: home)
    return true
  }

  /// Lets one clean block go where there are too many.
  private mutating func makeRoom() {
    guard blocks.count >= Refcounts.cachedBlocks else { return }
    let idle = blocks.first { $0.value.state == .clean }
    if let idle { blocks[idle.key] = nil }
  }
}
