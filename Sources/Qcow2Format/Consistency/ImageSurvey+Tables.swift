import HostStorage
import ImageFormat

/// A mapping that an image has: the guest's disk, or a snapshot of it.
struct SurveyedMapping {
  let l1: HostRange
  /// What the guest sees of it.
  let size: ByteCount
  let isActive: Bool
}

// Where the tables are, from the header down.
extension ImageSurvey {
  mutating func claimTables() throws(ImageError) {
    claim(HostRange(at: HostOffset(0), count: min(header.clusterSize, fileSize)), as: .header)
    let l1 = HostRange(at: header.l1Offset, count: ByteCount(header.l1Count * 8))
    claim(SurveyedMapping(l1: l1, size: header.virtualSize, isActive: true))
    try claimRefcounts()
    try claimSnapshots()
    if header.hasBitmaps { try claimBitmaps() }
    for mapping in mappings {
      for (_, entry) in try entries(of: mapping) { claimL2Table(entry, isActive: mapping.isActive) }
    }
  }

  private mutating func claim(_ mapping: SurveyedMapping) {
    if mapping.l1.isEmpty { return }
    if claim(mapping.l1, as: mapping.isActive ? .l1Table : .snapshotL1Table) { mappings.append(mapping) }
  }

  private mutating func claimSnapshots() throws(ImageError) {
    if !header.hasSnapshots { return }
    let table = try header.snapshotTable(in: storage)
    claim(HostRange(at: header.snapshotsOffset, count: table.size), as: .snapshotTable)
    for fault in table.faults { report.add(fault.isFatal ? .brokenTable : .brokenEntry, fault.reason) }
    for snapshot in table.list {
      let l1 = HostRange(at: snapshot.l1Offset, count: ByteCount(snapshot.l1Count * 8))
      claim(SurveyedMapping(l1: l1, size: snapshot.diskSize ?? header.virtualSize, isActive: false))
    }
  }

  /// Notes the refcount table and its blocks. An image that has none is looked at all the same.
  private mutating func claimRefcounts() throws(ImageError) {
    let table = HostRange(
      at: header.refcountTableOffset, count: header.clusterSize * header.refcountTableClusters)
    if table.isEmpty { report.add(.brokenTable, "it has no refcount table") }
    knowsTable = !table.isEmpty && claim(table, as: .refcountTable)
    if !knowsTable { return }
    for (number, entry) in try words(table.count.bytes / 8, at: table.start).enumerated() where entry != 0 {
      guard let start = header.clusterOffset(entry) else {
        report.add(.brokenTable, "the refcount table's entry \(number) is not a cluster's offset")
        brokenBlocks.insert(number)
        continue
      }
      if claim(HostRange(at: start, count: header.clusterSize), as: .refcountBlock) {
        blocks[number] = start
      } else {
        brokenBlocks.insert(number)
      }
    }
  }

  /// The entries of a first-level table that are not 0.
  private func entries(of mapping: SurveyedMapping) throws(ImageError) -> [(index: Int, entry: UInt64)] {
    let words = try words(mapping.l1.count.bytes / 8, at: mapping.l1.start)
    return words.enumerated().compactMap { $1 == 0 ? nil : ($0, $1) }
  }

  private mutating func claimL2Table(_ entry: UInt64, isActive: Bool) {
    let home = entry & L2Entry.Bits.offset
    if entry & L2Entry.Bits.reservedInL1 != 0 {
      report.add(.brokenEntry, "an entry of an L1 table has reserved bits set")
    } else if home == 0 {
      report.add(.brokenEntry, "an entry of an L1 table is marked as in use and leads nowhere")
    }
    if home == 0 { return }
    guard let start = header.clusterOffset(home) else {
      return report.add(.brokenEntry, "an entry of an L1 table is not a cluster's offset")
    }
    claim(
      HostRange(at: start, count: header.clusterSize), as: .l2Table,
      marks: isActive ? .ofFlag(entry & L2Entry.Bits.copied != 0) : [])
  }

  /// Looks into each L2 table that is one and nothing else.
  mutating func visitTables(skippingUnreadable: Bool) throws(ImageError) {
    for mapping in mappings {
      for (index, entry) in try entries(of: mapping) {
        guard let start = header.clusterOffset(entry & L2Entry.Bits.offset) else { continue }
        let cluster = start.bytes >> header.clusterBits
        let cell = uses[cluster]
        guard cell.count > 0, !cell.marks.contains(.visited), start.bytes + header.clusterSize.bytes <= fileSize.bytes
        else { continue }
        uses.add(0, to: cluster, marks: .visited)
        let guest = GuestOffset(index * header.l2Reach.bytes)
        do throws(ImageError) {
          try visit(TableVisit(home: start, guest: guest, mapping: mapping, uses: cell.count))
        } catch {
          guard skippingUnreadable, error.code == .storage else { throw error }
        }
      }
    }
  }
}

extension ClusterUses.Marks {
  static func ofFlag(_ isCopied: Bool) -> Self { isCopied ? .copied : .notCopied }
}
