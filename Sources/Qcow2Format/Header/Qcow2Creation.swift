package import HostStorage
package import ImageFormat

/// A new, empty qcow2 image.
package struct Qcow2Creation: Sendable {
  /// Rounded up to whole sectors when it is written: readers round down.
  package var virtualSize: ByteCount
  /// A power of two from 512 to 2 MiB.
  package var clusterSize: ByteCount = ByteCount(64 << 10)
  /// 2 (`compat=0.10`) or 3 (`compat=1.1`).
  package var version = 3
  package var hasExtendedL2 = false
  /// 1, 2, 4 … 64; 16 in version 2.
  package var refcountBits = 16
  package var backing: RecordedBacking?

  package init(virtualSize: ByteCount) {
    self.virtualSize = virtualSize
  }

  /// Writes the image to an empty storage, durably; the header last.
  package func write(to storage: any Storage) throws(ImageError) {
    do throws(HeaderFault) {
      let plan = try layout()
      let header = try headerCluster(plan)
      do throws(StorageError) {
        try storage.resize(to: clusterSize * plan.clusters)
        try storage.write(plan.refcountTable(clusterSize).span, at: HostOffset(plan.tableStart * clusterSize.bytes))
        for (position, block) in plan.refcountBlocks(self).enumerated() {
          try storage.write(block.span, at: HostOffset((plan.blocksStart + position) * clusterSize.bytes))
        }
        try storage.sync()
        try storage.write(header.span, at: HostOffset(0))
        try storage.sync()
      } catch {
        throw HeaderFault(.storage, error.description)
      }
    } catch {
      throw ImageError(error.code, path: storage.path, reason: error.reason)
    }
  }

  /// Where the first tables are, in clusters: header, refcount table, refcount blocks, L1 table.
  private struct Layout {
    var tableClusters = 1
    var blocks = 1
    var l1Entries: Int
    var l1Clusters: Int

    var tableStart: Int { 1 }
    var blocksStart: Int { tableStart + tableClusters }
    var l1Start: Int { blocksStart + blocks }
    var clusters: Int { l1Start + l1Clusters }

    func refcountTable(_ clusterSize: ByteCount) -> [UInt8] {
      let entries = (0..<blocks).map { UInt64((blocksStart + $0) * clusterSize.bytes) }
      return BigEndian.bytes(of: entries[...])
    }

    func refcountBlocks(_ image: Qcow2Creation) -> [[UInt8]] {
      let perBlock = image.clusterSize.bytes * 8 / image.refcountBits
      return (0..<blocks).map { block in
        var counts = RefcountBlock(
          bytes: [UInt8](repeating: 0, count: image.clusterSize.bytes), order: image.refcountBits.trailingZeroBitCount,
          home: HostOffset(0))
        for index in 0..<min(perBlock, clusters - block * perBlock) { counts[index] = 1 }
        return counts.bytes
      }
    }
  }

  private func layout() throws(HeaderFault) -> Layout {
    guard clusterSize.bytes.nonzeroBitCount == 1, (512...(2 << 20)).contains(clusterSize.bytes) else {
      throw HeaderFault(.refused, "the cluster size must be a power of two between 512 and 2M")
    }
    guard refcountBits.nonzeroBitCount == 1, (1...64).contains(refcountBits), version == 3 || refcountBits == 16 else {
      throw HeaderFault(.refused, "refcount_bits must be a power of two up to 64, and 16 with compat=0.10")
    }
    guard !hasExtendedL2 || (version == 3 && clusterSize.bytes >= 16 << 10) else {
      throw HeaderFault(.refused, "extended_l2 needs compat=1.1 and clusters of at least 16K")
    }
    let entries = clusterSize.bytes / (hasExtendedL2 ? 16 : 8)
    let reach = entries * clusterSize.bytes
    guard virtualSize.bytes <= Qcow2Header.Limit.l1Bytes / 8 * reach else {
      throw HeaderFault(.refused, "the size is too large for this cluster size; choose a larger cluster_size")
    }
    let l1Entries = (virtualSize.bytes + reach - 1) / reach
    let l1Clusters = (l1Entries * 8 + clusterSize.bytes - 1) / clusterSize.bytes
    var layout = Layout(l1Entries: l1Entries, l1Clusters: l1Clusters)
    let perBlock = clusterSize.bytes * 8 / refcountBits
    while layout.blocks * perBlock < layout.clusters { layout.blocks += 1 }
    while layout.tableClusters * clusterSize.bytes / 8 < layout.blocks {
      layout.tableClusters += 1
      while layout.blocks * perBlock < layout.clusters { layout.blocks += 1 }
    }
    return layout
  }

  private func headerCluster(_ layout: Layout) throws(HeaderFault) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: clusterSize.bytes)
    func place(_ cluster: Int) -> UInt64 { UInt64(cluster * clusterSize.bytes) }
    bytes.replaceSubrange(0..<4, with: Qcow2Header.magic)
    BigEndian.store(UInt32(version), into: &bytes, at: 4)
    BigEndian.store(UInt32(clusterSize.bytes.trailingZeroBitCount), into: &bytes, at: 20)
    BigEndian.store(UInt64(virtualSize.roundedUp(to: 512).bytes), into: &bytes, at: 24)
    BigEndian.store(UInt32(layout.l1Entries), into: &bytes, at: 36)
    BigEndian.store(layout.l1Entries > 0 ? place(layout.l1Start) : 0, into: &bytes, at: 40)
    BigEndian.store(place(layout.tableStart), into: &bytes, at: HeaderSector.Field.refcountTableOffset)
    BigEndian.store(UInt32(layout.tableClusters), into: &bytes, at: HeaderSector.Field.refcountTableClusters)
    if version == 3 {
      let features = hasExtendedL2 ? FeatureBits.Incompatible.extendedL2 : 0
      BigEndian.store(features, into: &bytes, at: HeaderSector.Field.incompatible)
      BigEndian.store(UInt32(refcountBits.trailingZeroBitCount), into: &bytes, at: 96)
      BigEndian.store(112 as UInt32, into: &bytes, at: 100)
    }
    guard let backing else { return bytes }
    let bare = try Qcow2Header(firstCluster: bytes, fileSize: clusterSize * layout.clusters)
    let recorded = try bare.layout(recording: backing)
    return recorded.applied(to: bytes)
  }
}
