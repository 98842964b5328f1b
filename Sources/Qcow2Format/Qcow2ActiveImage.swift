package import HostStorage
package import ImageFormat
import Synchronization

/// A qcow2 image that is written: an active layer.
package final class Qcow2ActiveImage: WritableImage {
  /// How it is opened.
  package struct Options: Sendable {
    /// Free the persistent dirty bitmaps of an image that has some, instead of refusing it.
    package var dropsBitmaps: Bool
    /// Give freed clusters back to the host.
    package var punches: Bool
    /// What bounds the L2 tables that are kept.
    package var budget: TableBudget

    package init(
      dropsBitmaps: Bool = false, punches: Bool = true, budget: TableBudget = TableBudget(limit: ByteCount(16 << 20))
    ) {
      self.dropsBitmaps = dropsBitmaps
      self.punches = punches
      self.budget = budget
    }
  }

  package let header: Qcow2Header
  package let storage: any Storage
  package let dataStorage: any Storage
  package let requests = RequestTracker()
  let tables: MappingTables
  let refcounts: Refcounts
  let sector: HeaderSector
  let flushOrder: FlushOrder
  private let inflater: Inflater
  private let recorded: Mutex<RecordedBacking?>
  private let preparation: Monitor<Preparation>
  private let isPrepared = Atomic<Bool>(false)
  private let takesWrites = Atomic<Bool>(true)

  /// What has to happen before the first write.
  private struct Preparation {
    enum Stage { case due, running, done }
    var stage = Stage.due
    /// All tables were looked into.
    var isSurveyed: Bool
    /// What is freed.
    var bitmaps: [HostRange]
  }

  package var format: String { "qcow2" }
  package var virtualSize: ByteCount { header.virtualSize }
  package var clusterSize: ByteCount { header.clusterSize }
  package var allocationUnit: ByteCount { header.subclusterSize }
  package var backing: RecordedBacking? { recorded.withLock { $0 } }

  /// Opens the image for writing. An image that was left dirty by lazy refcounts is repaired first. Refused are one that is
  /// marked corrupt, one in which a write could destroy what is somebody else's, or let the file grow over what it has lost, and
  /// one with bitmaps that `options` does not let go. A refused image has not been changed.
  package init(header: Qcow2Header, storage: any Storage, dataStorage: (any Storage)?, options: Options)
    throws(ImageError)
  {
    precondition(header.usesDataFile == (dataStorage != nil), "an external data file is given exactly when it is used")
    try Self.checkMayWrite(header, path: storage.path, options: options)
    var header = header
    let survey = try ImageSurvey.opening(&header, in: storage, dataFileSize: Self.size(of: dataStorage))
    self.header = header
    self.storage = storage
    self.dataStorage = dataStorage ?? storage
    recorded = Mutex(header.backing)
    sector = HeaderSector(header: header, storage: storage)
    tables = try MappingTables(header: header, storage: storage, budget: options.budget)
    refcounts = try Refcounts(header: header, storage: storage)
    flushOrder = FlushOrder(
      tables: tables, refcounts: refcounts, sector: sector, dataStorage: self.dataStorage, requests: requests,
      punches: options.punches)
    inflater = Inflater(header: header, storage: storage)
    preparation = Monitor(Preparation(isSurveyed: survey.isWhole, bitmaps: survey.bitmapRanges))
    refcounts.fence(survey.metadata.keys)
  }

  private static func size(of storage: (any Storage)?) throws(ImageError) -> ByteCount? {
    do {
      return try storage?.status().size
    } catch {
      throw ImageError(error)
    }
  }

  private static func checkMayWrite(_ header: Qcow2Header, path: String, options: Options) throws(ImageError) {
    if header.isMarkedCorrupt {
      throw ImageError(
        .refused, path: path, reason: "it is marked corrupt; repair it (`qemu-img check -r all`) or mount it with -o ro"
      )
    }
    if header.hasBitmaps && !options.dropsBitmaps {
      throw ImageError(
        .refused, path: path,
        reason: "it has persistent dirty bitmaps, which writing would falsify: "
          + "-o bitmaps=drop frees them, -o ro keeps them")
    }
  }

  package func mapping(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run {
    try tables.run(at: offset, limit: min(limit, GuestOffset(virtualSize.bytes) - offset))
  }

  package func inflate(_ cluster: CompressedCluster) throws(ImageError) -> [UInt8] {
    try inflater.inflate(cluster)
  }

  package func flush() throws(ImageError) {
    try flushOrder.flush()
  }

  package func finish() throws(ImageError) {
    // What the first flush dropped is decremented then, and what that changed is written by the next.
    repeat { try flush() } while refcounts.isChanged
    // What could not be released until now would be leaked: that is no loss, and no clean image either.
    if refcounts.hasQuarantine {
      try flushOrder.release()
      try flush()
    }
  }

  package func check(backing: RecordedBacking?) throws(ImageError) {
    if try header.snapshotsNeedBacking(in: storage) {
      throw ImageError(
        .unsupported, path: storage.path,
        reason: "its internal snapshots still need the backing file; delete them first (`qemu-img snapshot -d`)")
    }
    try sector.check(backing: backing)
  }

  package func record(backing: RecordedBacking?) throws(ImageError) {
    try prepareForWriting()
    try sector.record(backing: backing)
    recorded.withLock { $0 = backing }
  }

  /// Before the first write: looks into the tables where that was too much at the opening, clears the feature bits that a program
  /// that does not know them has to clear, and frees bitmaps. One thread does it, and the others wait.
  func prepareForWriting() throws(ImageError) {
    if isPrepared.load(ordering: .acquiring) { return }
    let isDone = preparation.wait { preparation -> Bool? in
      switch preparation.stage {
      case .done: return true
      case .running: return nil
      case .due:
        preparation.stage = .running
        return false
      }
    }
    if isDone { return }
    do throws(ImageError) {
      try prepare()
      preparation.withLock { $0.stage = .done }
      isPrepared.store(true, ordering: .releasing)
    } catch {
      preparation.withLock { $0.stage = .due }
      throw error
    }
  }

  private func prepare() throws(ImageError) {
    if !preparation.read({ $0.isSurveyed }) {
      let dataFile = header.usesDataFile ? dataStorage : nil
      var survey = try ImageSurvey(of: header, in: storage, dataFileSize: Self.size(of: dataFile))
      try survey.lookInside(skippingUnreadable: true)
      if let objection = survey.report.objectionToWriting {
        takesWrites.store(false, ordering: .relaxed)
        throw ImageError(.refused, path: storage.path, reason: objection)
      }
      preparation.withLock { $0.isSurveyed = true }
    }
    try sector.clearUnknownAutoclear(of: header)
    if header.hasBitmaps {
      try sector.dropBitmaps()
      refcounts.admit(preparation.read { $0.bitmaps })
    }
  }

  /// Runs a change of the mapping. Once the image's own metadata is found corrupt, it takes no more of them.
  func changing<Result>(_ body: () throws(ImageError) -> Result) throws(ImageError) -> Result {
    guard takesWrites.load(ordering: .relaxed) else {
      throw ImageError(.refused, path: storage.path, reason: "its metadata is corrupt, so it takes no more writes")
    }
    try prepareForWriting()
    do throws(ImageError) {
      return try body()
    } catch {
      if error.code == .corrupt { takesWrites.store(false, ordering: .relaxed) }
      throw error
    }
  }
}
