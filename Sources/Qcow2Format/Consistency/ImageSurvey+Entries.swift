import HostStorage
import ImageFormat

/// An L2 table that is being looked into.
struct TableVisit {
  let home: HostOffset
  /// What its first entry maps.
  let guest: GuestOffset
  let mapping: SurveyedMapping
  /// How many L1 entries lead to it: each of its entries counts as often.
  let uses: Int
}

// What the entries of the L2 tables use.
extension ImageSurvey {
  mutating func visit(_ table: TableVisit) throws(ImageError) {
    let words = try words(header.clusterSize.bytes / 8, at: table.home)
    let width = header.wordsPerEntry
    var guest = table.guest
    for position in stride(from: 0, to: words.count, by: width) {
      let entry = L2Entry(word: words[position], bitmap: width == 2 ? words[position + 1] : 0)
      if entry != .unallocated { try count(entry, at: guest, in: table) }
      guest += header.clusterSize
    }
  }

  private mutating func count(_ entry: L2Entry, at guest: GuestOffset, in table: TableVisit) throws(ImageError) {
    let isActive = table.mapping.isActive
    if isActive && (entry.isCompressed || rules.hasHostCluster(entry)) {
      report.dataClusters += 1
      if entry.isCompressed { report.compressedClusters += 1 }
    }
    if let fault = rules.fault(in: entry) {
      report.add(.brokenEntry, "the mapping of guest offset \(guest.bytes) has \(fault)")
    } else if entry.isCompressed {
      try countStream(rules.compressed(entry), at: guest, times: table.uses)
    } else if rules.hasHostCluster(entry) {
      let needed = bytesNeeded(by: entry, at: guest, of: table.mapping)
      if header.usesDataFile {
        lookAtDataFile(entry, at: guest, needing: needed)
      } else {
        countCluster(entry, at: guest, needing: needed, times: table.uses, isActive: isActive)
      }
    }
  }

  private mutating func countCluster(
    _ entry: L2Entry, at guest: GuestOffset, needing needed: ByteCount, times: Int, isActive: Bool
  ) {
    let start = entry.hostOffset
    let reach = start + needed
    if needed.bytes > 0 && reach.bytes > fileSize.bytes {
      return report.add(.lost, "the data of guest offset \(guest.bytes) lies past the end of its file")
    }
    if start.bytes >= fileSize.bytes {
      report.add(.brokenEntry, "the cluster kept for guest offset \(guest.bytes) lies past the end of its file")
    }
    use(
      start.bytes >> header.clusterBits, at: guest, times: times, marks: isActive ? .ofFlag(entry.isCopied) : [])
  }

  private mutating func use(_ cluster: Int, at guest: GuestOffset, times: Int, marks: ClusterUses.Marks) {
    let before = uses.add(times, to: cluster, marks: marks)
    guard before.marks.contains(.metadata) else { return }
    let kind = metadata[cluster]?.rawValue ?? "metadata"
    report.add(.overlap, "cluster \(cluster) holds the \(kind) and the data of guest offset \(guest.bytes)")
  }

  /// How much of an entry's cluster a reader of the disk may ask the host for. A cluster that is kept behind zeros needs nothing
  /// there, nor does what lies behind the disk's end; behind a snapshot's is the state of its machine.
  private func bytesNeeded(by entry: L2Entry, at guest: GuestOffset, of mapping: SurveyedMapping) -> ByteCount {
    let unit = header.clusterSize.bytes / header.subclusters
    var data = header.subclusters - 1
    while !rules.mapping(of: entry, subcluster: data).isData {
      if data == 0 { return 0 }
      data -= 1
    }
    let rest = mapping.size.bytes - guest.bytes
    if rest <= 0 { return mapping.isActive ? 0 : 1 }
    return ByteCount(min((data + 1) * unit, rest))
  }

  /// There guest data lies at its guest offset, and nothing is counted.
  private mutating func lookAtDataFile(_ entry: L2Entry, at guest: GuestOffset, needing needed: ByteCount) {
    do throws(EntryFault) {
      try rules.checkPlace(entry.hostOffset, of: guest)
    } catch {
      report.add(.brokenEntry, "the mapping of guest offset \(guest.bytes) has \(error.reason)")
    }
    // Nobody shares it, for a data file's image has no snapshots.
    if !entry.isCopied { report.add(.flagMissing, "the mapping of guest offset \(guest.bytes) lacks the copied flag") }
    if let dataFileSize, needed.bytes > 0, entry.hostOffset.bytes + needed.bytes > dataFileSize.bytes {
      report.add(.lost, "the data of guest offset \(guest.bytes) lies past the end of its data file")
    }
  }

  /// The last sector of a stream may be cut, and a stream may end before its last sector: one that crosses the file's end
  /// is whole if it can be inflated.
  private mutating func countStream(_ cluster: CompressedCluster, at guest: GuestOffset, times: Int)
    throws(ImageError)
  {
    let range = HostRange(at: cluster.start, count: cluster.size)
    let excess = range.end.bytes - fileSize.bytes
    let isThere = excess <= 0 ? true : excess < header.clusterSize.bytes ? try isWhole(cluster) : false
    guard isThere, range.start.bytes < fileSize.bytes else {
      return report.add(.lost, "the compressed data of guest offset \(guest.bytes) lies past the end of its file")
    }
    for cluster in clusters(of: range) { use(cluster, at: guest, times: times, marks: []) }
  }

  /// At most one stream of a sound image crosses the end; of a hostile one, no more are inflated than these.
  private static var streamsInflatedAtEnd: Int { 64 }

  private mutating func isWhole(_ cluster: CompressedCluster) throws(ImageError) -> Bool {
    if let known = streamsAtEnd[cluster.start] { return known }
    guard streamsAtEnd.count < Self.streamsInflatedAtEnd else { return false }
    var isWhole = true
    do throws(ImageError) {
      _ = try inflater.inflate(cluster)
    } catch {
      guard error.code == .corrupt else { throw error }
      isWhole = false
    }
    streamsAtEnd[cluster.start] = isWhole
    return isWhole
  }
}

extension Mapping {
  fileprivate var isData: Bool {
    if case .data = self { return true }
    return false
  }
}
