import HostStorage
package import ImageFormat

// Writing: `prepare` looks at the first cluster of the range and answers for as many more as can be treated alike.
//
//   in place   data of our own: the host cluster is used once, and only here
//   own        a host cluster of our own that the guest does not see yet: kept behind zeros, or subclusters not written yet
//   new        everything else: nothing there, zeros, compressed, shared with a snapshot
//   data file  all but "in place" where guest data lies in an external data file
extension Qcow2ActiveImage {
  package func prepare(_ range: GuestRange) throws(ImageError) -> WritePlan {
    try changing { () throws(ImageError) in try plan(range) }
  }

  package func planInPlace(_ range: GuestRange) throws(ImageError) -> WritePlan? {
    try changing { () throws(ImageError) in try ownData(range) }
  }

  private func plan(_ range: GuestRange) throws(ImageError) -> WritePlan {
    if let plan = try ownData(range) { return plan }
    let range = range.clamped(to: tableRange(around: range.start))
    let entry = try tables.entry(at: range.start)
    if entry.isCopied && tables.rules.hasHostCluster(entry) {
      try ownTable(for: range.start)
      return try planInOwnCluster(range, entry: entry)
    }
    try ownTable(for: range.start)
    return header.usesDataFile ? planInDataFile(range, entry: entry) : try planNew(range, entry: entry)
  }

  package func publish(_ plan: WritePlan) throws(ImageError) {
    let first = plan.filled.start.roundedDown(to: clusterSize)
    let hostFirst = plan.target - plan.filled.start.remainder(in: clusterSize)
    let count = plan.filled.roundedOut(to: clusterSize).count.bytes >> header.clusterBits
    let replaces = if case .new(replacing: true) = plan.place { true } else { false }
    try tables.update(clusters: count, at: first) { cluster, old in
      let step = self.clusterSize * cluster
      let covered = plan.filled.clamped(to: GuestRange(at: first + step, count: self.clusterSize))
      let bits = self.subclusterBits(covered)
      let bitmap = self.header.hasExtendedL2 ? (replaces ? 0 : old.bitmap) & ~(bits << 32) | bits : 0
      return (.data(at: hostFirst + step, bitmap: bitmap), replaces ? self.dropped(by: old) : nil)
    }
  }

  package func abandon(_ plan: WritePlan) {
    guard case .new = plan.place else { return }
    let start = plan.target - plan.filled.start.remainder(in: clusterSize)
    let count = plan.filled.roundedOut(to: clusterSize).count
    // A refcount that cannot be taken back only leaks the cluster.
    try? refcounts.giveBack(HostRange(at: start, count: count))
  }

  /// The part of the guest's disk that one L2 table maps.
  private func tableRange(around offset: GuestOffset) -> GuestRange {
    GuestRange(at: offset.roundedDown(to: header.l2Reach), count: header.l2Reach)
  }

  /// The plan of a write in place, where `range` begins with data that only this mapping uses.
  private func ownData(_ range: GuestRange) throws(ImageError) -> WritePlan? {
    guard let (target, count) = try tables.ownData(at: range.start, limit: range.count) else { return nil }
    try checkTarget(target, count: count, for: range.start)
    let part = GuestRange(at: range.start, count: count)
    return WritePlan(range: part, filled: part, target: target, place: .inPlace)
  }

  private func planInOwnCluster(_ range: GuestRange, entry: L2Entry) throws(ImageError) -> WritePlan {
    let cluster = GuestRange(at: range.start.roundedDown(to: clusterSize), count: clusterSize)
    let part = range.clamped(to: cluster)
    let filled = part.roundedOut(to: allocationUnit)
    let target = entry.hostOffset + filled.start.remainder(in: clusterSize)
    try checkTarget(target, count: filled.count, for: range.start)
    return WritePlan(range: part, filled: filled, target: target, place: .own)
  }

  /// With an external data file, guest data lies at its guest offset.
  private func planInDataFile(_ range: GuestRange, entry: L2Entry) -> WritePlan {
    let part = range.clamped(to: GuestRange(at: range.start.roundedDown(to: clusterSize), count: clusterSize))
    let filled = part.roundedOut(to: allocationUnit)
    return WritePlan(range: part, filled: filled, target: HostOffset(filled.start.bytes), place: .dataFile)
  }

  private func planNew(_ range: GuestRange, entry: L2Entry) throws(ImageError) -> WritePlan {
    let isReplacing = holdsSomething(entry)
    let filled = range.roundedOut(to: isReplacing ? clusterSize : allocationUnit)
    let clusters = filled.roundedOut(to: clusterSize)
    var wanted = 1
    while wanted < clusters.count.bytes >> header.clusterBits {
      let next = try tables.entry(at: clusters.start + clusterSize * wanted)
      guard !(next.isCopied && tables.rules.hasHostCluster(next)), holdsSomething(next) == isReplacing else { break }
      wanted += 1
    }
    let host = try refcounts.allocate(upTo: wanted)
    let reach = GuestRange(at: clusters.start, count: host.count)
    let part = filled.clamped(to: reach)
    return WritePlan(
      range: range.clamped(to: reach), filled: part, target: host.start + part.start.remainder(in: clusterSize),
      place: .new(replacing: isReplacing))
  }

  /// Whether a new cluster for this entry must take over all that an old one holds.
  private func holdsSomething(_ entry: L2Entry) -> Bool { entry.isCompressed || tables.rules.hasHostCluster(entry) }

  /// Makes sure that the L2 table for `offset` exists and is not shared with a snapshot.
  func ownTable(for offset: GuestOffset) throws(ImageError) {
    if try tables.hasOwnTable(for: offset) { return }
    let home = try refcounts.allocateTable()
    if try !tables.adoptTable(for: offset, at: home) {
      try refcounts.giveBack(HostRange(at: home, count: clusterSize))
    }
  }

  /// Guest data may never go where metadata is.
  private func checkTarget(_ target: HostOffset, count: ByteCount, for offset: GuestOffset) throws(ImageError) {
    guard !header.usesDataFile else { return }
    if refcounts.hasMetadata(in: HostRange(at: target, count: count)) {
      throw tables.corrupt("guest offset \(offset.bytes) is mapped onto the image's own metadata", at: offset)
    }
  }

  /// The subclusters that `covered`, a part of one cluster, touches: one bit each.
  func subclusterBits(_ covered: GuestRange) -> UInt64 {
    let bits = tables.rules.subclusterBits
    let first = covered.start.remainder(in: clusterSize).bytes >> bits
    let count = (covered.count.bytes + allocationUnit.bytes - 1) >> bits
    return ((1 << UInt64(count)) - 1) << UInt64(first)
  }

  /// What an entry held that goes.
  func dropped(by old: L2Entry) -> HostRange? {
    if old.isCompressed {
      let cluster = tables.rules.compressed(old)
      return HostRange(at: cluster.start, count: cluster.size)
    }
    guard !header.usesDataFile, tables.rules.hasHostCluster(old) else { return nil }
    return HostRange(at: old.hostOffset, count: clusterSize)
  }
}
