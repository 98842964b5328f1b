import CLinux
import Glibc
import Synchronization

/// A local file or block device.
///
/// It has one open file description from beginning to end, never a second one: QEMU's locks belong to the description,
/// and a second open of the same file would be in conflict with the first.
package final class FileStorage: Storage {
  package let path: String
  package let isReadOnly: Bool
  let descriptor: Int32
  let identity: StorageIdentity
  let isBlockDevice: Bool

  /// The error of the first failed sync, 0 before. Held during a sync: of two at once the kernel tells only one of the
  /// failure.
  private let syncFailure = Mutex<Int32>(0)
  /// The devices whose files cannot share blocks with this one, as far as that was tried.
  let unclonable = Lock<Set<UInt64>>([])
  /// Whether the file system says that a read would wait, as far as that was tried.
  let tellsCached = Atomic<Bool>(true)
  /// The bytes that hold our part of QEMU's image locks.
  let lockedBytes = Mutex<Set<Int>>([])
  /// How long the file is at least: what it was, and what was written since.
  let knownEnd: Atomic<Int>
  /// Where another program has cut it, `.max` where none has.
  let lostFrom = Atomic<Int>(.max)
  private let isClosed = Atomic<Bool>(false)

  /// Opens the file that an operator named. `/dev/fd/N` stands for descriptor N of this process, which is duplicated.
  package static func open(_ path: String, readOnly: Bool) throws(StorageError) -> FileStorage {
    let prefix = "/dev/fd/"
    if path.hasPrefix(prefix), let descriptor = Int32(path.dropFirst(prefix.count)) {
      return try adopt(descriptor, readOnly: readOnly)
    }
    return try open(LocatedFile(Array(path.utf8)), readOnly: readOnly)
  }

  /// Opens a file that was found, and judged, before.
  package static func open(_ file: consuming LocatedFile, readOnly: Bool) throws(StorageError) -> FileStorage {
    try refuse(kind: file.kind, path: file.path)
    let flags = (readOnly ? O_RDONLY : O_RDWR) | O_NOCTTY | O_NONBLOCK
    do throws(Errno) {
      return try FileStorage(owning: file.open(flags), path: file.path, readOnly: readOnly)
    } catch {
      throw StorageError(errno: error.code, operation: "open", path: file.path)
    }
  }

  /// Makes a new, empty file; EEXIST where there is one of this name already.
  package static func create(_ path: String) throws(StorageError) -> FileStorage {
    do throws(Errno) {
      let descriptor = OwnedDescriptor(try Syscall.create(Array(path.utf8), O_RDWR | O_EXCL))
      return try FileStorage(owning: descriptor, path: path, readOnly: false)
    } catch {
      throw StorageError(errno: error.code, operation: "create", path: path)
    }
  }

  /// Takes a duplicate of an open descriptor: the same open file description, with its locks.
  package static func adopt(_ descriptor: Int32, readOnly: Bool) throws(StorageError) -> FileStorage {
    let path = "/dev/fd/\(descriptor)"
    let storage: FileStorage
    let kind: LocatedFile.Kind
    do throws(Errno) {
      let flags = try Syscall.flags(descriptor)
      let mode = flags & O_ACCMODE
      guard flags & FLATCOW_O_PATH == 0, mode == O_RDWR || (readOnly && mode == O_RDONLY) else {
        throw Errno(code: EBADF)
      }
      // To such a descriptor Linux appends, whatever position is given.
      guard readOnly || flags & O_APPEND == 0 else { throw Errno(code: EINVAL) }
      let duplicate = OwnedDescriptor(try Syscall.duplicate(descriptor))
      storage = try FileStorage(owning: duplicate, path: path, readOnly: readOnly)
      kind = try LocatedFile.Kind(Syscall.status(descriptor))
    } catch {
      throw StorageError(errno: error.code, operation: "open", path: path)
    }
    try refuse(kind: kind, path: path)
    return storage
  }

  private static func refuse(kind: LocatedFile.Kind, path: String) throws(StorageError) {
    guard kind == .other else { return }
    throw StorageError(
      errno: EINVAL, operation: "open", path: path, detail: "neither a regular file nor a block device")
  }

  private init(owning descriptor: consuming OwnedDescriptor, path: String, readOnly: Bool) throws(Errno) {
    let status = try Syscall.status(descriptor.number)
    self.descriptor = descriptor.release()
    self.path = path
    isReadOnly = readOnly
    identity = StorageIdentity(status)
    isBlockDevice = LocatedFile.Kind(status) == .blockDevice
    knownEnd = Atomic(Int(status.st_size))
  }

  deinit { close() }

  /// Gives back the locks that were taken here, also where an adopted description stays open elsewhere.
  package func close() {
    guard isClosed.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
    unlockAll()
    Syscall.close(descriptor)
  }

  /// fstat(2); a device counts as wholly allocated.
  package func status() throws(StorageError) -> StorageStatus {
    try failing("look at") { () throws(Errno) in try described(Syscall.status(descriptor)) }
  }

  /// statx(2) that does not ask the server of a network file system.
  package func knownStatus() throws(StorageError) -> StorageStatus {
    try failing("look at") { () throws(Errno) in try described(Syscall.knownStatus(descriptor)) }
  }

  private func described(_ status: stat) throws(Errno) -> StorageStatus {
    let size = ByteCount(isBlockDevice ? try currentSize() : Int(status.st_size))
    return StorageStatus(
      identity: identity, size: size, allocated: isBlockDevice ? size : ByteCount(status.st_blocks * 512),
      modified: status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec, links: Int(status.st_nlink),
      isBlockDevice: isBlockDevice)
  }

  /// Where the file lies now, whatever it was opened by: absolute, without links; ends in " (deleted)" where it was
  /// unlinked.
  package func currentPath() throws(StorageError) -> [UInt8]? {
    try failing("find") { () throws(Errno) in try Syscall.readLink(Array("/proc/self/fd/\(descriptor)".utf8)) }
  }

  /// `/proc/PID/fd/N`.
  package var descriptorPath: String? { "/proc/\(getpid())/fd/\(descriptor)" }

  /// fdatasync(2), until it fails once. The kernel reports lost pages one time only and then forgets them, so an "OK" that
  /// comes later would be a lie.
  package func sync() throws(StorageError) {
    BlockingCall.announce()
    try syncFailure.withLock { failure throws(StorageError) in
      if failure == 0 {
        do throws(Errno) {
          try Syscall.syncData(descriptor)
        } catch {
          failure = error.code
        }
      }
      if failure != 0 { throw StorageError(code: .syncLost, errno: failure, operation: "sync", path: path) }
    }
    try checkLength(before: "sync")
  }

  /// Names the operation and the place of a failure.
  func failing<Result>(
    _ operation: String, at offset: HostOffset? = nil, _ body: () throws(Errno) -> Result
  ) throws(StorageError) -> Result {
    do {
      return try body()
    } catch {
      throw StorageError(errno: error.code, operation: operation, path: path, offset: offset)
    }
  }
}
