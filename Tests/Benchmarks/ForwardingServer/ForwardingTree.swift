import FUSESession
import Glibc
import HostStorage

/// A directory with one file, which is a file of the host.
final class ForwardingTree: FileSystem {
  private static let disk = InodeNumber(2)

  private let storage: FileStorage
  private let size: ByteCount

  init(_ storage: FileStorage) throws(StorageError) {
    self.storage = storage
    size = try storage.status().size
  }

  func lookup(_ name: String, in directory: InodeNumber) throws(Errno) -> Entry {
    guard name == "disk" else { throw Errno(ENOENT) }
    return Entry(try attributes(of: Self.disk), nameValidity: .seconds(3600))
  }

  func attributes(of inode: InodeNumber, usedBy user: FileHandle?, by caller: Caller) throws(Errno) -> FileAttributes {
    try attributes(of: inode)
  }

  private func attributes(of inode: InodeNumber) throws(Errno) -> FileAttributes {
    let isDisk = inode == Self.disk
    let origin = FileTime(nanoseconds: 0)
    return FileAttributes(
      inode: inode, kind: isDisk ? .regular : .directory, permissions: isDisk ? 0o600 : 0o755, owner: geteuid(),
      group: getegid(), size: isDisk ? size.bytes : 0, accessed: origin, modified: origin, changed: origin,
      validity: .seconds(3600))
  }

  func change(
    _ change: AttributeChange, of inode: InodeNumber, by caller: Caller
  ) throws(Errno) -> FileAttributes {
    try attributes(of: inode)
  }

  func entries(of directory: InodeNumber) throws(Errno) -> [DirectoryEntry] {
    [DirectoryEntry(name: "disk", inode: Self.disk, kind: .regular)]
  }

  func space() throws(Errno) -> FileSystemSpace {
    FileSystemSpace(blockSize: 4096, blocks: size.bytes / 4096, freeBlocks: 0, files: 1)
  }

  func open(_ inode: InodeNumber, _ flags: OpenFlags, by caller: Caller) throws(Errno) -> OpenReply {
    OpenReply(FileHandle(0), keepsCache: true)
  }

  func read(_ range: FileRange, of file: OpenFile, into output: inout OutputSpan<UInt8>) throws(Errno) {
    do throws(StorageError) {
      try storage.read(ByteCount(range.count), at: HostOffset(range.start.bytes), into: &output)
    } catch {
      throw Errno(error.errno)
    }
  }

  func write(
    _ bytes: Span<UInt8>, at offset: FileOffset, to file: OpenFile, as kind: WriteKind, by caller: Caller,
    reply: consuming WriteReply
  ) {
    do throws(StorageError) {
      try storage.write(bytes, at: HostOffset(offset.bytes))
      reply.succeed(count: bytes.count)
    } catch {
      reply.fail(Errno(error.errno))
    }
  }

  func seek(_ target: SeekTarget, from offset: FileOffset, in file: OpenFile) throws(Errno) -> FileOffset {
    target == .data ? offset : FileOffset(size.bytes)
  }

  func allocate(_ range: FileRange, mode: Int32, of file: OpenFile) throws(Errno) { throw Errno(EOPNOTSUPP) }

  func synchronize(_ file: OpenFile, dataOnly: Bool) throws(Errno) {
    do throws(StorageError) {
      try storage.sync()
    } catch {
      throw Errno(error.errno)
    }
  }

  func flush(_ file: OpenFile) throws(Errno) {}
  func release(_ file: OpenFile) {}
  func poll(_ events: UInt32, of file: OpenFile, notify handle: PollHandle?) throws(Errno) -> UInt32 { events }
}
