package import HostStorage
package import ImageFormat

/// What a check of an image found. `errors` can lose data; leaks only waste space.
package struct CheckReport: Sendable, Equatable {
  package var errors = 0
  package var leaks = 0
  /// The first findings, a clause each.
  package var findings: [String] = []
  /// Guest clusters in use, how many of these are compressed, and how many the disk has.
  package var dataClusters = 0
  package var compressedClusters = 0
  package var totalClusters = 0

  package var isClean: Bool { errors == 0 && leaks == 0 }

  /// More are counted, not listed.
  static let listed = 100

  mutating func add(error finding: String) {
    errors += 1
    if findings.count < Self.listed { findings.append(finding) }
  }

  mutating func add(leak finding: String) {
    leaks += 1
    if findings.count < Self.listed { findings.append(finding) }
  }
}

/// Checks a qcow2 image as `qemu-img check` does: every refcount against the real use, every copied flag against its refcount.
package enum Qcow2Check {
  /// Checks; changes nothing.
  package static func run(on header: Qcow2Header, in storage: any Storage) throws(ImageError) -> CheckReport {
    let survey = try RefcountSurvey(header: header, storage: storage)
    let refcounts = try Refcounts(header: header, storage: storage)
    let tables = try MappingTables(header: header, storage: storage, budget: TableBudget(limit: ByteCount(1 << 20)))
    var report = CheckReport()
    report.dataClusters = survey.dataClusters
    report.compressedClusters = survey.compressedClusters
    report.totalClusters = (header.virtualSize.bytes + header.clusterSize.bytes - 1) >> header.clusterBits
    for fault in survey.faults { report.add(error: fault) }
    try refcounts.compare(with: survey, into: &report)
    try tables.checkCopiedFlags(against: refcounts, into: &report)
    return report
  }

  /// Checks and repairs what can be: leaks, refcounts that are too low, copied flags. Returns what was found before.
  package static func repair(_ header: Qcow2Header, in storage: any Storage) throws(ImageError) -> CheckReport {
    let before = try run(on: header, in: storage)
    if !before.isClean || header.isMarkedDirty {
      try RefcountRepair.clean(header, in: storage, sector: HeaderSector(header: header, storage: storage))
    }
    return before
  }
}

extension Refcounts {
  fileprivate func compare(with survey: RefcountSurvey, into report: inout CheckReport) throws(ImageError) {
    for (cluster, expected) in survey.counts.enumerated() {
      let actual = try count(ofClusterAt: HostOffset(cluster << header.clusterBits))
      if actual < expected {
        report.add(error: "cluster \(cluster) has refcount \(actual) and is used \(expected) times")
      } else if actual > expected {
        report.add(leak: "cluster \(cluster) has refcount \(actual) and is used \(expected) times")
      }
    }
  }
}

extension MappingTables {
  /// The flag has to agree with the count that stands in the image, right or wrong: a writer goes by either.
  fileprivate func checkCopiedFlags(against refcounts: Refcounts, into report: inout CheckReport) throws(ImageError) {
    try forEachEntry { (offset, isTable, word, host) throws(ImageError) in
      let isSingle = try refcounts.count(ofClusterAt: host) == 1
      if isSingle != (word & L2Entry.Bits.copied != 0) {
        let what = isTable ? "L2 table" : "cluster"
        report.add(error: "the copied flag of the \(what) for guest offset \(offset.bytes) contradicts its refcount")
      }
    }
  }

  /// Every L1 entry with a table and every L2 entry with a host cluster of the image file, in order.
  func forEachEntry(
    _ body: (_ guest: GuestOffset, _ isTable: Bool, _ word: UInt64, _ host: HostOffset) throws(ImageError) -> Void
  ) throws(ImageError) {
    let l1 = state.read { $0.l1 }
    for (index, entry) in l1.enumerated() where entry & L2Entry.Bits.offset != 0 {
      let start = GuestOffset(index * header.l2Reach.bytes)
      try body(start, true, entry, HostOffset(Int(entry & L2Entry.Bits.offset)))
      guard !header.usesDataFile else { continue }
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
