package import HostStorage
package import ImageFormat

extension Qcow2ActiveImage {
  package func zero(_ range: GuestRange, reserving: Bool, hiding: Bool) throws(ImageError) -> ByteCount {
    try changing { () throws(ImageError) in try clear(range, reserving: reserving, hiding: hiding) }
  }

  private func clear(_ range: GuestRange, reserving: Bool, hiding: Bool) throws(ImageError) -> ByteCount {
    let table = GuestRange(at: range.start.roundedDown(to: header.l2Reach), count: header.l2Reach)
    let range = range.clamped(to: table)
    // Without a zero flag a cluster reads as zeros only where nothing is mapped, and nothing lies below.
    guard header.hasZeroFlag || (!hiding && !reserving) else { return 0 }
    let whole = range.start.remainder(in: clusterSize).bytes == 0 && range.count >= clusterSize
    if !whole, try tables.entry(at: range.start).isCompressed { return 0 }
    let part = whole ? range.roundedIn(to: clusterSize) : firstPart(of: range)
    if !hiding, try isUnallocated(part) { return part.count }
    if header.usesDataFile { try clearDataFile(part, reserving: reserving) }
    try ownTable(for: part.start)
    let count = whole ? part.count.bytes >> header.clusterBits : 1
    try tables.update(clusters: count, at: part.start.roundedDown(to: clusterSize)) { _, old in
      whole ? self.zeroed(old, reserving: reserving) : (self.zeroed(old, subclustersIn: part), nil)
    }
    return part.count
  }

  /// The part of `range` in its first cluster.
  private func firstPart(of range: GuestRange) -> GuestRange {
    range.clamped(to: GuestRange(at: range.start.roundedDown(to: clusterSize), count: clusterSize))
  }

  private func isUnallocated(_ range: GuestRange) throws(ImageError) -> Bool {
    let run = try tables.run(at: range.start, limit: range.count)
    return run.mapping == .unallocated && run.count >= range.count
  }

  private func zeroed(_ old: L2Entry, reserving: Bool) -> (entry: L2Entry, dropped: HostRange?) {
    let keeps = tables.rules.hasHostCluster(old) && old.isCopied && (reserving || header.usesDataFile)
    var entry = keeps ? L2Entry(word: old.word, bitmap: 0) : .unallocated
    if header.hasExtendedL2 {
      entry.bitmap = L2Entry.Bits.allocatedSubclusters << 32
    } else if header.hasZeroFlag {
      entry.word |= L2Entry.Bits.zero
    }
    return (entry, keeps ? nil : dropped(by: old))
  }

  private func zeroed(_ old: L2Entry, subclustersIn part: GuestRange) -> L2Entry {
    let bits = subclusterBits(part)
    return L2Entry(word: old.word, bitmap: old.bitmap & ~bits | bits << 32)
  }

  /// What lies in an external data file at a guest offset is this guest offset's alone, so it may be cleared at once; a raw
  /// data file is also read without the image.
  private func clearDataFile(_ range: GuestRange, reserving: Bool) throws(ImageError) {
    let place = HostRange(at: HostOffset(range.start.bytes), count: min(range.count, virtualEnd(after: range.start)))
    do {
      if reserving {
        try dataStorage.zero(place)
      } else {
        try dataStorage.punch(place)
      }
    } catch {
      throw ImageError(error)
    }
  }

  private func virtualEnd(after offset: GuestOffset) -> ByteCount { GuestOffset(virtualSize.bytes) - offset }
}
