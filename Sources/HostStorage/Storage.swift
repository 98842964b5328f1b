/// One place where bytes live: a host file, a block device, or a test's memory.
///
/// Every method may be called from any number of threads at once. Offsets beyond the end are legal where the
/// method says so and an error otherwise.
package protocol Storage: AnyObject, Sendable {
  /// The name to show to a person.
  var path: String { get }
  /// Whether it was opened for reading only; a write then fails with EBADF or EROFS.
  var isReadOnly: Bool { get }

  /// Where the file lies now: absolute, without symbolic links; nil for a storage that has no place.
  func currentPath() throws(StorageError) -> [UInt8]?
  /// A name by which other processes reach the open file, even when it was unlinked: `/proc/PID/fd/N`; nil for a storage
  /// that has no place.
  var descriptorPath: String? { get }
  /// What the host says about the file now.
  func status() throws(StorageError) -> StorageStatus
  /// What the host knows about the file without asking anybody who may hang; it may be a moment old.
  func knownStatus() throws(StorageError) -> StorageStatus
  /// Bytes free for an ordinary writer on the file system below, and that file system's size.
  func space() throws(StorageError) -> (free: ByteCount, total: ByteCount)

  /// Appends `count` bytes from `offset` on to `output`, which has room for them; fewer only where the file ends.
  func read(_ count: ByteCount, at offset: HostOffset, into output: inout OutputSpan<UInt8>) throws(StorageError)
  /// Writes all of `bytes`; past the end the file grows. After an error any of the sectors may be old or new.
  func write(_ bytes: Span<UInt8>, at offset: HostOffset) throws(StorageError)
  /// Makes `range` read as zeros and keeps (or takes) its space; the file grows where `range` ends past its end.
  func zero(_ range: HostRange) throws(StorageError)
  /// Makes `range` read as zeros and gives its space back where the host can; the size stays as it is.
  func punch(_ range: HostRange) throws(StorageError)
  /// Takes host space for `range`, so that a later write there cannot fail for want of it; contents stay, new
  /// bytes read as zeros, the file grows where `range` ends past its end. Where the host cannot promise that,
  /// it only grows the file.
  func reserve(_ range: HostRange) throws(StorageError)
  /// Cuts or grows to `size`.
  func resize(to size: ByteCount) throws(StorageError)
  /// Whether `clone` is worth a try.
  func mayClone(from source: any Storage) -> Bool
  /// Has the host share blocks of another storage instead of copying them. false: it cannot, and nothing has changed.
  func clone(_ count: ByteCount, from source: any Storage, at sourceOffset: HostOffset, to offset: HostOffset)
    throws(StorageError) -> Bool
  /// Makes every completed write durable. A failure is final: all later calls fail too.
  func sync() throws(StorageError)

  /// Whether `offset` lies in a hole, in data, or past the end, and for how long a run of at least 1 and at most `limit`
  /// bytes. A hole or data ends where the file does. A storage that does not know its holes says that all is data.
  func extent(at offset: HostOffset, limit: ByteCount) throws(StorageError) -> StorageExtent

  /// Takes QEMU's byte-range locks; a conflict is `.locked`, and its context names the holder where it is known.
  func lock(_ mode: ImageLock) throws(StorageError)
  /// Gives all locks back and closes; no other call may follow or be under way.
  func close()
}

extension Storage {
  /// For storages that nobody has to be asked about.
  package func knownStatus() throws(StorageError) -> StorageStatus { try status() }
  /// For storages that have no place.
  package func currentPath() throws(StorageError) -> [UInt8]? { nil }
  /// For storages that have no place.
  package var descriptorPath: String? { nil }
}

/// A run of bytes that are all of one kind.
package struct StorageExtent: Equatable, Sendable {
  /// What its bytes are.
  package enum Kind: Sendable {
    /// Reads as zeros, and takes no space.
    case hole
    /// Anything that is not known to be a hole.
    case data
    /// There is nothing: reading it is an error to whoever expects something there, never zeros.
    case pastEnd
  }

  package var kind: Kind
  package var count: ByteCount

  package init(_ kind: Kind, count: ByteCount) {
    self.kind = kind
    self.count = count
  }

  package var isHole: Bool { kind == .hole }
}

/// Which file it is, whatever it is called.
package struct StorageIdentity: Hashable, Sendable {
  package var device: UInt64
  package var inode: UInt64

  package init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

/// What the host says about a file.
package struct StorageStatus: Equatable, Sendable {
  package var identity: StorageIdentity
  package var size: ByteCount
  /// Space taken on the host.
  package var allocated: ByteCount
  /// Last modification, nanoseconds since 1970.
  package var modified: Int
  /// 0: the file was unlinked.
  package var links: Int
  package var isBlockDevice: Bool

  package init(
    identity: StorageIdentity, size: ByteCount, allocated: ByteCount, modified: Int, links: Int,
    isBlockDevice: Bool
  ) {
    self.identity = identity
    self.size = size
    self.allocated = allocated
    self.modified = modified
    self.links = links
    self.isBlockDevice = isBlockDevice
  }
}

/// How an image is locked against other programs: QEMU's permission bytes 100+n (held) and 200+n (not shared),
/// n = 0 read, 1 write, 2 write-unchanged, 3 resize.
package enum ImageLock: Sendable {
  /// A layer that is only read: holds 100; refuses others' writes and resizes by 201, 203.
  case backing
  /// The active layer: holds 100, 101, 103 and refuses the same of others.
  case active
}
