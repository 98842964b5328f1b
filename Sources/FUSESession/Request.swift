import CFUSE
import Glibc

/// The duty to answer one request of the kernel.
///
/// Answering consumes it, so a second answer does not compile; one that is forgotten answers EIO. libfuse keeps
/// the request until it is answered; whoever holds this value makes sure that the session lives as long.
struct Request: ~Copyable {
  private let bits: UInt

  init(_ pointer: fuse_req_t?) { bits = UInt(bitPattern: pointer) }

  deinit { _ = unsafe fuse_reply_err(pointer, EIO) }

  var pointer: OpaquePointer? { unsafe OpaquePointer(bitPattern: bits) }

  /// Whether the kernel took the answer: not when the caller was gone, or the connection.
  @safe @discardableResult
  private consuming func answer(_ send: (OpaquePointer?) -> Int32) -> Bool {
    let request = unsafe pointer
    discard self
    return unsafe send(request) == 0
  }

  consuming func fail(_ error: Errno) { answer { unsafe fuse_reply_err($0, error.rawValue) } }

  consuming func succeed() { answer { unsafe fuse_reply_err($0, 0) } }

  consuming func succeed(_ entry: Entry) {
    var parameters = fuse_entry_param()
    parameters.ino = entry.inode.rawValue
    parameters.generation = 1
    parameters.attr = stat(entry.attributes)
    parameters.attr_timeout = entry.attributes.validity.seconds
    parameters.entry_timeout = entry.nameValidity.seconds
    answer { unsafe fuse_reply_entry($0, &parameters) }
  }

  consuming func succeed(_ attributes: FileAttributes) {
    var status = stat(attributes)
    answer { unsafe fuse_reply_attr($0, &status, attributes.validity.seconds) }
  }

  /// The kernel's own structure is sent, for libfuse 3.14 has no name for parallel direct writes.
  consuming func succeed(_ opened: OpenReply) -> Bool {
    var flags: Int32 = 0
    if opened.usesDirectIO { flags |= FOPEN_DIRECT_IO }
    if opened.keepsCache { flags |= FOPEN_KEEP_CACHE }
    if opened.allowsParallelWrites { flags |= FOPEN_PARALLEL_DIRECT_WRITES }
    var body = fuse_open_out()
    body.fh = opened.handle.rawValue
    body.open_flags = UInt32(bitPattern: flags)
    return answer { request in unsafe withUnsafeBytes(of: &body) { unsafe send($0, to: request) } }
  }

  consuming func succeed(_ bytes: UnsafeRawBufferPointer) { answer { unsafe send(bytes, to: $0) } }

  consuming func succeed(written count: Int) { answer { unsafe fuse_reply_write($0, count) } }

  consuming func succeed(_ offset: FileOffset) { answer { unsafe fuse_reply_lseek($0, offset.bytes) } }

  consuming func succeed(events: UInt32) { answer { unsafe fuse_reply_poll($0, events) } }

  consuming func succeed(_ space: FileSystemSpace) {
    var status = statvfs()
    status.f_bsize = UInt(space.blockSize)
    status.f_frsize = UInt(space.blockSize)
    status.f_blocks = UInt(space.blocks)
    status.f_bfree = UInt(space.freeBlocks)
    status.f_bavail = UInt(space.freeBlocks)
    status.f_files = UInt(space.files)
    status.f_namemax = UInt(NAME_MAX)
    answer { unsafe fuse_reply_statfs($0, &status) }
  }
}

private func send(_ bytes: UnsafeRawBufferPointer, to request: OpaquePointer?) -> Int32 {
  unsafe fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
}

extension Duration {
  fileprivate var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}

extension FileKind {
  /// The type bits of `st_mode`.
  var mode: mode_t {
    switch self {
    case .regular: S_IFREG
    case .directory: S_IFDIR
    }
  }
}

extension stat {
  fileprivate init(_ attributes: FileAttributes) {
    self.init()
    st_ino = numericCast(attributes.inode.rawValue)
    st_mode = attributes.kind.mode | attributes.permissions
    st_nlink = numericCast(attributes.links)
    st_uid = attributes.owner
    st_gid = attributes.group
    st_size = attributes.size
    st_blocks = numericCast(attributes.blocks)
    st_blksize = numericCast(attributes.blockSize)
    st_atim = timespec(attributes.accessed)
    st_mtim = timespec(attributes.modified)
    st_ctim = timespec(attributes.changed)
  }
}

extension timespec {
  fileprivate init(_ time: FileTime) {
    let second = 1_000_000_000
    let fraction = (time.nanoseconds % second + second) % second
    self.init(tv_sec: (time.nanoseconds - fraction) / second, tv_nsec: fraction)
  }
}
