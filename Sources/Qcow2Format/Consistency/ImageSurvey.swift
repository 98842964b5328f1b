import HostStorage
import ImageFormat

/// What a host cluster holds that is no guest data.
enum MetadataKind: String {
  case header
  case l1Table = "L1 table"
  case l2Table = "L2 table"
  case refcountTable = "refcount table"
  case refcountBlock = "refcount block"
  case snapshotTable = "snapshot table"
  case snapshotL1Table = "snapshot's L1 table"
  case bitmapDirectory = "bitmap directory"
  case bitmapTable = "bitmap table"
  case bitmapData = "bitmap"
}

/// All of an image's metadata, looked at and nothing changed: what uses each host cluster, and all that is wrong.
///
/// First the places of all tables are claimed, then each L2 table is looked into, once, however many lead to it; last the uses
/// are compared with the refcounts, block by block. So no table is read twice, but those of the first level.
struct ImageSurvey {
  let header: Qcow2Header
  let storage: any Storage
  let rules: EntryRules
  let fileSize: ByteCount
  /// Of the external data file, where it is known.
  let dataFileSize: ByteCount?
  var report = CheckReport()
  var uses = ClusterUses()
  /// Every cluster that holds metadata.
  var metadata: [Int: MetadataKind] = [:]
  /// How many of these are L2 tables.
  private var l2Tables = 0
  /// The tables were looked into.
  private(set) var isWhole = false
  /// What the persistent dirty bitmaps take: directory, tables, data.
  var bitmapRanges: [HostRange] = []
  /// Those whose first-level table is where it can be.
  var mappings: [SurveyedMapping] = []
  /// The refcount table is where it can be.
  var knowsTable = true
  /// The refcount blocks that are where they can be, and the numbers of those that are not.
  var blocks: [Int: HostOffset] = [:]
  var brokenBlocks: Set<Int> = []
  /// For compressed clusters that cross the file's end, and what is known of these, by where they start.
  let inflater: Inflater
  var streamsAtEnd: [HostOffset: Bool] = [:]

  /// Looks where the tables are, and not yet inside.
  init(of header: Qcow2Header, in storage: any Storage, dataFileSize: ByteCount? = nil) throws(ImageError) {
    self.header = header
    self.storage = storage
    self.dataFileSize = dataFileSize
    rules = EntryRules(header)
    inflater = Inflater(header: header, storage: storage)
    do {
      fileSize = try storage.status().size
    } catch {
      throw ImageError(error)
    }
    report.totalClusters = (header.virtualSize.bytes + header.clusterSize.bytes - 1) >> header.clusterBits
    try claimTables()
  }

  /// Looks at all the rest. `skippingUnreadable`: an L2 table that the host cannot read now concerns whoever looks something up
  /// in it, and is left out.
  mutating func lookInside(skippingUnreadable: Bool = false) throws(ImageError) {
    try visitTables(skippingUnreadable: skippingUnreadable)
    try compareCounts()
    isWhole = true
  }

  /// What the L2 tables take together.
  var l2TableSize: ByteCount { header.clusterSize * l2Tables }

  /// Clusters of the file, the last of which may be cut.
  var fileClusters: Int { (fileSize.bytes + header.clusterSize.bytes - 1) >> header.clusterBits }

  func clusters(of range: HostRange) -> Range<Int> {
    (range.start.bytes >> header.clusterBits)..<((range.end.bytes + header.clusterSize.bytes - 1) >> header.clusterBits)
  }

  /// Takes a range for metadata. false: it is cut off by the file's end, or not this one's alone; then what stands there is not
  /// to be believed.
  @discardableResult
  mutating func claim(_ range: HostRange, as kind: MetadataKind, marks: ClusterUses.Marks = []) -> Bool {
    guard range.end.bytes <= fileSize.bytes else {
      report.add(
        kind == .l2Table ? .lost : .brokenTable,
        "the \(kind.rawValue) at \(range.start.bytes) lies past the end of its file")
      return false
    }
    for cluster in clusters(of: range) {
      uses.add(1, to: cluster, marks: marks.union(.metadata))
      guard let other = metadata.updateValue(kind, forKey: cluster) else {
        if kind == .l2Table { l2Tables += 1 }
        continue
      }
      if kind == .l2Table && other == .l2Table { continue }
      report.add(.overlap, "cluster \(cluster) holds the \(kind.rawValue) and the \(other.rawValue)")
      uses.add(0, to: cluster, marks: .visited)
      // Of the rest nothing more needs to be known, and what is hostile may overlap very often.
      return false
    }
    return true
  }

  /// All words of a table that was claimed, and so lies within the file. What a shorter answer does not say may be in use.
  func words(_ count: Int, at offset: HostOffset) throws(ImageError) -> [UInt64] {
    let words = try header.words(count, at: offset, from: storage)
    guard words.count == count else {
      throw ImageError(.corrupt, path: storage.path, reason: "it became shorter while it was looked at")
    }
    return words
  }
}
