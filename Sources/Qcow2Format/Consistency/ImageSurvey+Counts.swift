import HostStorage
import ImageFormat

// The refcounts, beside what was counted.
extension ImageSurvey {
  /// A cluster whose refcount can be told.
  struct Counted {
    let cluster: Int
    /// How often it is used.
    let uses: Int
    /// Its refcount.
    let count: UInt64
    let marks: ClusterUses.Marks

    var isRight: Bool { UInt64(uses) == count }
  }

  mutating func compareCounts() throws(ImageError) {
    var report = self.report
    let largest = RefcountBlock.largest(order: header.refcountOrder)
    try forEachCluster { found in
      let uses = UInt64(found.uses)
      if uses > largest {
        report.add(.tooManyUses, "cluster \(found.cluster) is used \(uses) times, more than its refcount can say")
      }
      if found.count != uses {
        let text = "cluster \(found.cluster) has refcount \(found.count) and is used \(uses) times"
        report.add(found.count < uses ? .countTooLow : .leak, text)
      }
      // The flags have to agree with the count that stands in the image, right or wrong: a writer goes by either.
      if found.marks.contains(.copied) && found.count != 1 {
        report.add(.flagTooMany, "cluster \(found.cluster) has the copied flag and refcount \(found.count)")
      }
      if found.marks.contains(.notCopied) && found.count == 1 {
        report.add(.flagMissing, "cluster \(found.cluster) lacks the copied flag and has refcount 1")
      }
    }
    self.report = report
  }

  /// Every cluster of the file that has a refcount block, and every one that is used. Not those of blocks that are not where
  /// they can be: of them nothing is known. Reads the blocks from the host.
  func forEachCluster(_ body: (Counted) throws(ImageError) -> Void) throws(ImageError) {
    let perBlock = header.refcountsPerBlock
    for (number, home) in blocks.sorted(by: { $0.key < $1.key }) {
      let clusters = (number * perBlock..<(number + 1) * perBlock).clamped(to: 0..<fileClusters)
      if clusters.isEmpty { break }
      let block = try block(at: home)
      for cluster in clusters {
        let cell = uses[cluster]
        try body(
          Counted(cluster: cluster, uses: cell.count, count: block[cluster % perBlock], marks: cell.marks))
      }
    }
    try forEachClusterElsewhere(body)
  }

  /// Every used cluster that has no block, or lies past the end of the file.
  private func forEachClusterElsewhere(_ body: (Counted) throws(ImageError) -> Void) throws(ImageError) {
    guard knowsTable else { return }
    let perBlock = header.refcountsPerBlock
    for row in uses.sortedRows {
      let clusters = row * ClusterUses.rowLength..<(row + 1) * ClusterUses.rowLength
      // As good as every row lies within one block that is there.
      let isSeen =
        perBlock >= ClusterUses.rowLength && blocks[clusters.lowerBound / perBlock] != nil
        && clusters.upperBound <= fileClusters
      if isSeen { continue }
      for cluster in clusters {
        let number = cluster / perBlock
        let home = blocks[number]
        let cell = uses[cluster]
        guard cell.count > 0, home == nil || cluster >= fileClusters, !brokenBlocks.contains(number) else { continue }
        let count = try home.map { (home) throws(ImageError) in try block(at: home)[cluster % perBlock] } ?? 0
        try body(Counted(cluster: cluster, uses: cell.count, count: count, marks: cell.marks))
      }
    }
  }

  func block(at home: HostOffset) throws(ImageError) -> RefcountBlock {
    let bytes = try header.read(header.clusterSize.bytes, at: home, from: storage)
    guard bytes.count == header.clusterSize.bytes else {
      throw ImageError(.corrupt, path: storage.path, reason: "it became shorter while it was looked at")
    }
    return RefcountBlock(bytes: bytes, order: header.refcountOrder, home: home)
  }
}
