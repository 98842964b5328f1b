import HostStorage
import ImageFormat

/// Makes refcounts and copied flags say what is really used, as QEMU does with an image that lazy refcounts left dirty.
///
/// All is known before anything is written. While it runs nothing is lost: counts are raised and flags cleared before anything
/// could rely on them, and the dirty bit goes last.
enum RefcountRepair {
  /// Repairs the image by a survey that has no objection to it, and marks it clean.
  static func adopt(_ survey: ImageSurvey) throws(ImageError) {
    precondition(survey.report.objectionToRepair == nil, "the survey knows all that is used")
    let (header, storage) = (survey.header, survey.storage)
    let sector = HeaderSector(header: header, storage: storage)
    let tables = try MappingTables(header: header, storage: storage, budget: TableBudget(limit: ByteCount(1 << 20)))
    let refcounts = try Refcounts(header: header, storage: storage)
    let order = FlushOrder(
      tables: tables, refcounts: refcounts, sector: sector, dataStorage: storage, requests: RequestTracker(),
      punches: false)
    try sector.clearUnknownAutoclear(of: header)
    try refcounts.adopt(survey)
    try order.flush()
    try tables.correctCopiedFlags(with: refcounts)
    try order.flush()
    let marks = FeatureBits.Incompatible.dirty | FeatureBits.Incompatible.corrupt
    if header.incompatible & marks != 0 { try sector.clearIncompatible(marks) }
  }
}

extension HeaderSector {
  /// As any program that writes to an image has to, which does not know what these bits promise.
  func clearUnknownAutoclear(of header: Qcow2Header) throws(ImageError) {
    if header.autoclear & ~FeatureBits.Autoclear.known == 0 { return }
    try clearAutoclear(keeping: FeatureBits.Autoclear.known)
  }
}

extension Refcounts {
  /// Sets every count to what the survey found. Blocks that are missing are made past the end of all that is used.
  fileprivate func adopt(_ survey: ImageSurvey) throws(ImageError) {
    let end = max(survey.fileClusters, survey.uses.end)
    try state.withLock { (state) throws(ImageError) in
      state.firstFree = end
      try survey.forEachCluster { (found) throws(ImageError) in
        if found.isRight { return }
        let block = found.cluster / header.refcountsPerBlock
        if try !state.load(block) {
          let place = try state.allocateRow(of: 1, from: end)
          let spare = place.start.bytes >> header.clusterBits
          // Making room for the new block may have made this very block.
          if try state.load(block) { try state.decrement(spare) } else { try state.makeBlock(block, at: spare) }
        }
        try state.set(UInt64(found.uses), of: found.cluster)
      }
    }
  }
}

extension MappingTables {
  fileprivate func correctCopiedFlags(with refcounts: Refcounts) throws(ImageError) {
    try forEachEntry { (guest, isTable, word, host) throws(ImageError) in
      let isSingle = try isTable || !header.usesDataFile ? refcounts.count(ofClusterAt: host) == 1 : true
      guard isSingle != (word & L2Entry.Bits.copied != 0) else { return }
      if isTable {
        correctL1(header.position(of: guest).l1Index, isSingle: isSingle)
      } else {
        try update(clusters: 1, at: guest) { _, old in
          (L2Entry(word: old.word ^ L2Entry.Bits.copied, bitmap: old.bitmap), nil)
        }
      }
    }
  }

  private func correctL1(_ index: Int, isSingle: Bool) {
    state.withLock { state in
      state.l1[index] = isSingle ? state.l1[index] | L2Entry.Bits.copied : state.l1[index] & ~L2Entry.Bits.copied
      state.changedL1.insert(index)
    }
  }

  /// Every L1 entry with a table and every L2 entry with a host cluster, in order.
  private func forEachEntry(
    _ body: (_ guest: GuestOffset, _ isTable: Bool, _ word: UInt64, _ host: HostOffset) throws(ImageError) -> Void
  ) throws(ImageError) {
    let l1 = state.read { $0.l1 }
    for (index, entry) in l1.enumerated() where entry & L2Entry.Bits.offset != 0 {
      let start = GuestOffset(index * header.l2Reach.bytes)
      try body(start, true, entry, HostOffset(Int(entry & L2Entry.Bits.offset)))
      let words = try withTable(index) { (state, place) throws(ImageError) in place.map { state.tables[$0].words } }
      guard let words else { continue }
      for position in 0..<(words.count / header.wordsPerEntry) {
        let found = rules.entry(position, in: words)
        guard rules.fault(in: found) == nil, rules.hasHostCluster(found) else { continue }
        try body(start + header.clusterSize * position, false, found.word, found.hostOffset)
      }
    }
  }
}
