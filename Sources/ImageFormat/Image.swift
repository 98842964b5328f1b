package import HostStorage

/// Where a run of guest bytes is.
package enum Mapping: Equatable, Sendable {
  /// Not in this image: look in the backing image, or read zeros where there is none.
  case unallocated
  /// Reads as zeros, whatever lies below. `reserved`: the image keeps host space for it.
  case zero(reserved: Bool)
  /// In the image's data storage from this offset on.
  case data(at: HostOffset)
  /// Inside a compressed cluster, starting `skip` bytes into what it inflates to.
  case compressed(CompressedCluster, skip: ByteCount)
}

/// A compressed cluster: where its stream starts and how many bytes it has at most.
package struct CompressedCluster: Hashable, Sendable {
  package var start: HostOffset
  package var size: ByteCount

  package init(at start: HostOffset, size: ByteCount) {
    self.start = start
    self.size = size
  }
}

/// A mapping and how many guest bytes it holds for.
package struct Run: Equatable, Sendable {
  package var mapping: Mapping
  package var count: ByteCount

  package init(_ mapping: Mapping, count: ByteCount) {
    self.mapping = mapping
    self.count = count
  }
}

/// What an image's header says about the image below it.
package struct RecordedBacking: Equatable, Sendable {
  /// The name as it stands in the header: bytes, not text; never empty.
  package var name: [UInt8]
  /// The format's name, when one is recorded.
  package var format: String?

  package init(name: [UInt8], format: String?) {
    self.name = name
    self.format = format
  }
}

/// An open image file of some format, for reading.
package protocol Image: AnyObject, Sendable {
  /// The format's name as QEMU says it: "raw", "qcow2".
  var format: String { get }
  var virtualSize: ByteCount { get }
  /// The unit of allocation; 1 for formats that have none.
  var clusterSize: ByteCount { get }
  /// What the header records of the image below.
  var backing: RecordedBacking? { get }
  /// The image file.
  var storage: any Storage { get }
  /// Where `.data` offsets lie: the image file, or the external data file.
  var dataStorage: any Storage { get }

  /// Where the guest bytes from `offset` on are, for a run of at least 1 and at most `limit` bytes, within one
  /// mapping. `offset` is below `virtualSize`, and so is the end of the run.
  ///
  /// May be called from any thread. The answer stays good for as long as the caller is registered as a request
  /// (see `WritableImage.requests`), or for ever in an image that nobody writes.
  func mapping(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run

  /// The bytes of a compressed cluster that `mapping` returned: exactly one cluster.
  func inflate(_ cluster: CompressedCluster) throws(ImageError) -> [UInt8]
}

/// Where a write to a guest range goes: the caller writes `body` (and what fills the allocation unit around it)
/// there, and then has the plan published.
package struct WritePlan: Sendable {
  /// The guest range that this plan is for: the requested one, or the first part of it.
  package var range: GuestRange
  /// The whole allocation units that become data; equal to `range` for a write in place. The caller supplies the bytes of
  /// `filled` outside `range` as the guest reads them now.
  package var filled: GuestRange
  /// Where `filled` begins in the data storage; the bytes are contiguous from there on.
  package var target: HostOffset
  package var place: Place

  /// What the target is. The image that made the plan goes by it when the plan is published or abandoned.
  package enum Place: Sendable {
    /// Where the guest's bytes are: used once, and only here.
    case inPlace
    /// Host clusters of its own that the guest does not see yet, all or in part: kept behind zeros, say.
    case own
    /// Clusters that were taken for it, instead of what each held before (with `replacing`) or of nothing.
    case new(replacing: Bool)
    /// The external data file, at the guest's own offset.
    case dataFile
  }

  package init(range: GuestRange, filled: GuestRange, target: HostOffset, place: Place) {
    self.range = range
    self.filled = filled
    self.target = target
    self.place = place
  }

  /// Whether a mapping has to be published.
  package var allocates: Bool {
    if case .inPlace = place { false } else { true }
  }
}

/// An image that can be a chain's active layer.
///
/// The caller serialises by guest range: no two of `prepare`…`publish`, `zero` and `discard` run at once on
/// overlapping clusters (`clusterSize`, rounded outward), and a write in place excludes them.
package protocol WritableImage: Image {
  /// The unit in which ranges change from one mapping to another: the subcluster, or the cluster; 1 for formats that
  /// have none.
  var allocationUnit: ByteCount { get }
  /// Every request on the guest's data is registered here while it runs.
  var requests: RequestTracker { get }

  /// The plan of a write to the beginning of `range` that goes where the guest's bytes are, and changes no mapping; nil
  /// where there is no such place.
  func planInPlace(_ range: GuestRange) throws(ImageError) -> WritePlan?
  /// Finds or makes room for a write to the beginning of `range`. The plan covers at least its first byte.
  /// Nothing is visible until `publish`.
  func prepare(_ range: GuestRange) throws(ImageError) -> WritePlan
  /// The bytes of `plan.filled` are written: makes the new mapping visible. A plan in place needs no call.
  func publish(_ plan: WritePlan) throws(ImageError)
  /// The bytes could not be written: gives back what `prepare` took.
  func abandon(_ plan: WritePlan)

  /// Makes whole allocation units read as zeros without writing zeros, and returns how many bytes from the beginning
  /// of `range` on now do. 0: the first unit has to be written as data (a format without zero clusters, say).
  /// `reserving` keeps the host space of those units that have some; otherwise it is given back. `hiding` says that there is
  /// an image below, which the zeros have to hide.
  func zero(_ range: GuestRange, reserving: Bool, hiding: Bool) throws(ImageError) -> ByteCount

  /// Makes everything that was published before the call durable, in the order that survives a crash.
  func flush() throws(ImageError)

  /// Says whether the header can record `backing` (nil: none) now; changes nothing.
  func check(backing: RecordedBacking?) throws(ImageError)
  /// Records `backing` in the header, by one sector, durably. All else must have been flushed. On an error the header is
  /// as it was, verified, unless the error's code is `.outcomeUnknown`.
  func record(backing: RecordedBacking?) throws(ImageError)

  /// Flushes, marks the image clean and gives back what quarantine holds. No request may be running.
  func finish() throws(ImageError)
}
