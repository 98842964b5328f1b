import HostStorage
import ImageFormat
import Synchronization

/// Makes refcounts and copied flags say what is really used, as QEMU does with an image that lazy refcounts left dirty.
///
/// While it runs nothing is lost: counts are raised and flags cleared before anything could rely on them, and the dirty bit goes
/// last.
enum RefcountRepair {
  static func clean(_ header: Qcow2Header, in storage: any Storage, sector: HeaderSector) throws(ImageError) {
    let survey = try RefcountSurvey(header: header, storage: storage)
    if let fault = survey.faults.first {
      throw ImageError(.corrupt, path: storage.path, reason: "it cannot be repaired: \(fault)")
    }
    let tables = try MappingTables(header: header, storage: storage, budget: TableBudget(limit: ByteCount(1 << 20)))
    let refcounts = try Refcounts(header: header, storage: storage)
    let order = FlushOrder(
      tables: tables, refcounts: refcounts, sector: sector, dataStorage: storage, requests: RequestTracker(),
      punches: false)
    try refcounts.adopt(survey)
    try order.flush()
    try tables.correctCopiedFlags(with: refcounts)
    try order.flush()
    if header.isMarkedDirty { try sector.clearIncompatible(FeatureBits.Incompatible.dirty) }
  }
}

extension Refcounts {
  /// Sets every count to what the survey found. Blocks that are missing are made past the end of the file, where nothing is.
  fileprivate func adopt(_ survey: RefcountSurvey) throws(ImageError) {
    try state.withLock { (state) throws(ImageError) in
      state.firstFree = survey.counts.count
      let largest = RefcountBlock.largest(order: header.refcountOrder)
      for (cluster, count) in survey.counts.enumerated() where try state.count(of: cluster) != UInt64(count) {
        guard UInt64(count) <= largest else {
          throw state.corrupt("cluster \(cluster) is used more often than its refcount can say")
        }
        let block = cluster / header.refcountsPerBlock
        if try !state.load(block) {
          let place = try state.allocateRow(of: 1, from: survey.counts.count)
          let spare = place.start.bytes >> header.clusterBits
          // Making room for the new block may have made this very block.
          if try state.load(block) { try state.decrement(spare) } else { try state.makeBlock(block, at: spare) }
        }
        try state.set(UInt64(count), of: cluster)
      }
    }
  }
}

extension MappingTables {
  fileprivate func correctCopiedFlags(with refcounts: Refcounts) throws(ImageError) {
    try forEachEntry { (guest, isTable, word, host) throws(ImageError) in
      let isSingle = try refcounts.count(ofClusterAt: host) == 1
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
}
