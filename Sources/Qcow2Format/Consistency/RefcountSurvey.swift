import HostStorage
import ImageFormat

/// How often each host cluster is really used, counted from the header down; changes nothing.
struct RefcountSurvey {
  let header: Qcow2Header
  private let storage: any Storage
  private let rules: EntryRules
  /// By cluster number; as long as the file.
  private(set) var counts: [UInt32]
  /// What is broken beyond any refcount, a clause each.
  private(set) var faults: [String] = []
  /// Clusters that the guest's data takes, and how many of these are compressed.
  private(set) var dataClusters = 0
  private(set) var compressedClusters = 0

  init(header: Qcow2Header, storage: any Storage) throws(ImageError) {
    self.header = header
    self.storage = storage
    rules = EntryRules(header)
    let size: ByteCount
    do {
      size = try storage.status().size
    } catch {
      throw ImageError(error)
    }
    counts = [UInt32](repeating: 0, count: (size.bytes + header.clusterSize.bytes - 1) >> header.clusterBits)
    try countAll()
  }

  private mutating func countAll() throws(ImageError) {
    use(HostRange(at: HostOffset(0), count: header.clusterSize), as: "header")
    use(
      HostRange(at: header.refcountTableOffset, count: header.clusterSize * header.refcountTableClusters),
      as: "refcount table")
    let table = try words(
      header.clusterSize.bytes * header.refcountTableClusters / 8, at: header.refcountTableOffset, of: "refcount table")
    for (index, entry) in table.enumerated() where entry != 0 {
      useCluster(at: entry, as: "refcount block \(index)")
    }
    try countMapping(l1Offset: header.l1Offset, l1Count: header.l1Count, isActive: true)
    let (snapshots, tableSize) = try header.snapshots(in: storage)
    if !snapshots.isEmpty { use(HostRange(at: header.snapshotsOffset, count: tableSize), as: "snapshot table") }
    for snapshot in snapshots {
      try countMapping(l1Offset: snapshot.l1Offset, l1Count: snapshot.l1Count, isActive: false)
    }
    if header.hasBitmaps {
      for range in try header.bitmapRanges(in: storage) { use(range, as: "bitmap") }
    }
  }

  private mutating func countMapping(l1Offset: HostOffset, l1Count: Int, isActive: Bool) throws(ImageError) {
    guard l1Count > 0 else { return }
    use(HostRange(at: l1Offset, count: ByteCount(l1Count * 8)), as: "L1 table")
    for (index, entry) in try words(l1Count, at: l1Offset, of: "L1 table").enumerated() {
      let home = entry & L2Entry.Bits.offset
      guard home != 0, useCluster(at: home, as: "L2 table \(index)") else { continue }
      let words = SparseWords(
        try words(header.clusterSize.bytes / 8, at: HostOffset(Int(home)), of: "L2 table \(index)"))
      for position in 0..<(words.count / header.wordsPerEntry) {
        count(rules.entry(position, in: words), isActive: isActive)
      }
    }
  }

  /// The words of a table. One that is cut off is a fault: what it does not say any more may be in use.
  private mutating func words(_ count: Int, at offset: HostOffset, of what: String) throws(ImageError) -> [UInt64] {
    let words = try header.words(count, at: offset, from: storage)
    if words.count < count { faults.append("the \(what) at \(offset.bytes) is cut off") }
    return words
  }

  private mutating func count(_ entry: L2Entry, isActive: Bool) {
    if let fault = rules.fault(in: entry) {
      faults.append("a mapping has \(fault)")
    } else if entry.isCompressed {
      let cluster = rules.compressed(entry)
      use(HostRange(at: cluster.start, count: cluster.size), as: "compressed cluster")
      if isActive { compressedClusters += 1 }
    } else if rules.hasHostCluster(entry) && !header.usesDataFile {
      useCluster(at: entry.word & L2Entry.Bits.offset, as: "data cluster")
    }
    if isActive && (entry.isCompressed || rules.hasHostCluster(entry)) { dataClusters += 1 }
  }

  @discardableResult
  private mutating func useCluster(at word: UInt64, as what: String) -> Bool {
    guard let start = header.clusterOffset(word) else {
      faults.append("the \(what) is not at a cluster's offset")
      return false
    }
    return use(HostRange(at: start, count: header.clusterSize), as: what)
  }

  @discardableResult
  private mutating func use(_ range: HostRange, as what: String) -> Bool {
    let first = range.start.bytes >> header.clusterBits
    let end = (range.end.bytes + header.clusterSize.bytes - 1) >> header.clusterBits
    // A compressed cluster's length is rounded up to sectors, which may lie past the end.
    guard first < counts.count, end <= counts.count + 1 else {
      faults.append("the \(what) at \(range.start.bytes) lies past the end of the file")
      return false
    }
    for cluster in first..<min(end, counts.count) { counts[cluster] += 1 }
    return true
  }
}
