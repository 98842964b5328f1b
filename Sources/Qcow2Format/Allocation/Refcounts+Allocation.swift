import HostStorage
import ImageFormat

// Finding free clusters: first fit from the lowest one believed free. A block or a table that does not exist yet covers
// nothing but free clusters; it is made when the first of them is taken, and stands among them.
extension Refcounts.State {
  mutating func allocate(upTo wanted: Int) throws(ImageError) -> HostRange {
    let first = try firstFreeCluster(from: firstFree)
    let (block, index) = first.quotientAndRemainder(dividingBy: header.refcountsPerBlock)
    guard try load(block) else { return try allocateRow(of: min(wanted, header.refcountsPerBlock / 2), from: first) }
    let most = min(wanted, header.refcountsPerBlock - index)
    var count = 0
    while count < most, blocks[block]?[index + count] == 0 {
      blocks[block]?[index + count] = 1
      count += 1
    }
    firstFree = first + count
    return range(of: first..<(first + count))
  }

  /// Takes exactly `wanted` clusters in a row from `start` on, and makes the blocks that they need right behind them. On an
  /// error nothing is taken: a block that is not counted itself, or an entry past the end of the table on the host, would
  /// be written by the next flush.
  mutating func allocateRow(of wanted: Int, from start: Int) throws(ImageError) -> HostRange {
    let before = self
    do throws(ImageError) {
      return try takeRow(of: wanted, from: start)
    } catch {
      self = before
      throw error
    }
  }

  private mutating func takeRow(of wanted: Int, from start: Int) throws(ImageError) -> HostRange {
    let wanted = max(1, wanted)
    let perBlock = header.refcountsPerBlock
    while true {
      let first = try firstFreeRow(of: wanted, from: start)
      var missing: [Int] = []
      var end = first + wanted
      // Each block that is made may reach into the range of the next one.
      var block = first / perBlock
      while block * perBlock < end {
        if block >= table.count || table[block] == 0 {
          missing.append(block)
          end += 1
        }
        block += 1
      }
      if block > table.count {
        try growTable(toHold: block)
        continue  // the new table may stand where this row was
      }
      guard try firstFreeRow(of: end - first, from: first) == first else {
        return try takeRow(of: wanted, from: first + 1)
      }
      for (position, block) in missing.enumerated() { try makeBlock(block, at: first + wanted + position) }
      for cluster in first..<end { try set(1, of: cluster) }
      if first <= firstFree { firstFree = end }
      return range(of: first..<(first + wanted))
    }
  }

  mutating func makeBlock(_ block: Int, at cluster: Int) throws(ImageError) {
    let place = range(of: cluster..<(cluster + 1))
    try reserve(place)
    blocks[block] = RefcountBlock(
      bytes: [UInt8](repeating: 0, count: header.clusterSize.bytes), order: header.refcountOrder, home: place.start,
      state: .new)
    table[block] = UInt64(place.start.bytes)
    changedEntries.insert(block)
    metadata.insert(cluster)
  }

  /// Makes the table longer and gives it a new place; the header points there after the next flush.
  private mutating func growTable(toHold entries: Int) throws(ImageError) {
    let perCluster = header.clusterSize.bytes / 8
    let wanted = max(entries + 1, table.count * 3 / 2)
    let length = (wanted + perCluster - 1) / perCluster
    guard length * header.clusterSize.bytes <= Qcow2Header.Limit.refcountTableBytes else {
      throw ImageError(.noSpace, path: storage.path, reason: "the image is as large as qcow2 allows")
    }
    let old = HostRange(at: tableHome, count: header.clusterSize * tableClusters)
    table.append(contentsOf: repeatElement(0, count: length * perCluster - table.count))
    let place = try allocateRow(of: length, from: firstFree)
    try reserve(place)
    replacedTables.append(old)
    metadata.formUnion(clusters(of: place))
    tableHome = place.start
    tableClusters = length
    tableHasMoved = true
  }

  func reserve(_ range: HostRange) throws(ImageError) {
    do {
      try storage.reserve(range)
    } catch {
      throw ImageError(error)
    }
  }

  private mutating func firstFreeCluster(from start: Int) throws(ImageError) -> Int {
    try firstFreeRow(of: 1, from: start)
  }

  /// The first of `wanted` free clusters in a row. Clusters without a block are free.
  private mutating func firstFreeRow(of wanted: Int, from start: Int) throws(ImageError) -> Int {
    let perBlock = header.refcountsPerBlock
    var first = start
    var cluster = start
    while cluster - first < wanted {
      let (block, index) = cluster.quotientAndRemainder(dividingBy: perBlock)
      guard (cluster + 1) << header.clusterBits < Qcow2Header.Limit.hostOffset else {
        throw ImageError(.noSpace, path: storage.path, reason: "no host offset is left in the image")
      }
      if try !load(block) {
        cluster = (block + 1) * perBlock
      } else if let counts = blocks[block] {
        var position = index
        while position < perBlock, cluster - first < wanted {
          cluster += 1
          if counts[position] != 0 { first = cluster }
          position += 1
        }
      }
    }
    return first
  }
}
