// FUSESession: libfuse's low-level interface in Swift terms.
//
// It is the only importer of CFUSE, and it knows no disks: a `FileSystem` answers the requests, a `FUSESession`
// mounts it, brings the requests to it, and sends the answers.
//
//   kernel ── /dev/fuse ── ServingThreads ── OperationTable ── any FileSystem
//                                                    │
//                                       Request ─ WriteReply ─ HeldWrite (any thread, later)
//
// Invariant: every request is answered exactly once. A `Request` is a value that cannot be copied; answering
// consumes it, and one that is forgotten answers EIO.
//
// Ending: dirty pages arrive while the kernel unmounts, so the connection is never closed from this side. An
// unmount is asked of the kernel while `run` goes on serving; `run` returns when the kernel has ended the
// connection.
//
// A libfuse pointer is kept as its bit pattern, so that the types that hold one are Sendable by themselves.
// That is sound: libfuse guards each of these objects with its own lock, and each wrapper says what keeps its
// pointer alive.
//
// Of HostStorage it uses threads and locks, no storage.
//
// Lock order: libfuse's request lock → HeldWrite's registry → one HeldWrite. None of them is held while a
// `FileSystem` or an interrupt handler runs, except the request lock, which only that request's interrupt takes.

import CFUSE
import Glibc
import Synchronization

/// One mounted file system and its connection to the kernel.
///
/// The connection outlives everything that may still answer through it: a `HeldWrite` and a `PollHandle` keep
/// the session.
package final class FUSESession: Sendable {
  let fileSystem: any FileSystem
  let options: MountOptions
  /// The absolute path of the directory, or `/dev/fd/N` when an existing connection was adopted.
  package let mountPoint: String

  /// The address of the `fuse_session`; stored once, by `mount`, before anyone else can see this object.
  private let address = Atomic<UInt>(0)
  private let isStarted = Atomic<Bool>(false)
  private let awaitsWriteBack = Atomic<Bool>(false)

  private init(mountPoint: String, options: MountOptions, fileSystem: any FileSystem) {
    self.mountPoint = mountPoint
    self.options = options
    self.fileSystem = fileSystem
  }

  deinit {
    guard let session = unsafe pointer else { return }
    unsafe fuse_session_unmount(session)
    unsafe fuse_session_destroy(session)
  }

  /// Whether the kernel counts a page as being written until the file system has answered. Before Linux 6.16 (version 7.44
  /// of its interface) it wrote a copy, and the page counted as clean at once.
  package var tellsWhenWritten: Bool { awaitsWriteBack.load(ordering: .relaxed) }

  var pointer: OpaquePointer? { unsafe OpaquePointer(bitPattern: address.load(ordering: .relaxed)) }

  /// Mounts `fileSystem` on the directory `path` and returns when the kernel's first request (FUSE_INIT) was
  /// answered: from then on every access waits for `run` instead of failing.
  ///
  /// `/dev/fd/N` adopts a descriptor of /dev/fuse that somebody else has mounted.
  package static func mount(
    at path: String, options: MountOptions, fileSystem: any FileSystem
  ) throws(FUSESessionError) -> FUSESession {
    let mountPoint = try absolutePath(of: path)
    let session = FUSESession(mountPoint: mountPoint, options: options, fileSystem: fileSystem)
    LibraryLog.start()
    try session.create()
    guard unsafe fuse_session_mount(session.pointer, mountPoint) == 0 else {
      let reason = LibraryLog.takeLast() ?? "fusermount3 refused it, for the reason that it has printed"
      throw FUSESessionError(.mount, path: mountPoint, reason: reason)
    }
    try session.answerFirstRequest()
    return session
  }

  /// Serves until the kernel ends the connection: after an unmount, or after the last close when it was lazy.
  ///
  /// At most `threads` requests are worked on at a time. The threads inherit the caller's signal mask.
  package func run(threads: Int) throws(FUSESessionError) {
    guard ServingThreads(session: self, limit: threads).run() else {
      // Nobody would answer: what is mounted would keep whoever looks at it waiting.
      try? unmount(lazy: true)
      throw FUSESessionError(
        .connection, errno: EAGAIN, path: mountPoint, reason: "the host has no thread to give to serve it")
    }
    detachIfAborted()
  }

  private static func absolutePath(of path: String) throws(FUSESessionError) -> String {
    if path.hasPrefix("/dev/fd/") { return path }
    let resolved = unsafe realpath(path, nil)
    defer { unsafe free(resolved) }
    var status = stat()
    guard let resolved = unsafe resolved, unsafe stat(resolved, &status) == 0 else {
      let code = errno
      let dead = "an old mount whose program has died is in the way; umount it first"
      throw FUSESessionError(.mount, errno: code, path: path, reason: code == ENOTCONN ? dead : words(for: code))
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw FUSESessionError(.mount, errno: ENOTDIR, path: path, reason: "not a directory")
    }
    return unsafe String(cString: resolved)
  }

  private func create() throws(FUSESessionError) {
    let arguments = ["flatcow", "-o", options.text]
    let operations = operationTable()
    let session = withCStrings(arguments) { argv -> OpaquePointer? in
      var list = unsafe fuse_args(argc: Int32(arguments.count), argv: argv, allocated: 0)
      defer { unsafe fuse_opt_free_args(&list) }
      return unsafe withUnsafePointer(to: operations) { table in
        unsafe fuse_session_new(
          &list, table, MemoryLayout<fuse_lowlevel_ops>.size, Unmanaged.passUnretained(self).toOpaque())
      }
    }
    guard let session = unsafe session else {
      throw FUSESessionError(
        .mount, errno: EINVAL, path: mountPoint, reason: LibraryLog.takeLast() ?? "libfuse refuses its options")
    }
    address.store(UInt(bitPattern: session), ordering: .relaxed)
  }

  /// FUSE_INIT is always the first request; libfuse calls `start` for it and then answers.
  private func answerFirstRequest() throws(FUSESessionError) {
    var buffer = unsafe fuse_buf()
    defer { unsafe free(buffer.mem) }
    var received: Int32
    repeat { received = unsafe fuse_session_receive_buf(pointer, &buffer) } while received == -EINTR
    if received > 0 { unsafe fuse_session_process_buf(pointer, &buffer) }
    guard isStarted.load(ordering: .relaxed), unsafe fuse_session_exited(pointer) == 0 else {
      throw FUSESessionError(
        .mount, errno: received < 0 ? -received : EPROTO, path: mountPoint,
        reason: LibraryLog.takeLast() ?? "the kernel ended the connection at once")
    }
  }

  /// Settles with the kernel what the connection can do; called by libfuse before it answers FUSE_INIT.
  func start(_ connection: inout fuse_conn_info) {
    let capable = connection.capable
    func want(_ capability: Int32, _ wanted: Bool) {
      let bit = UInt32(bitPattern: capability)
      connection.want = wanted ? connection.want | (capable & bit) : connection.want & ~bit
    }
    // With it, an O_TRUNC would empty the file in the kernel's eyes before the file system is asked.
    want(FUSE_CAP_ATOMIC_O_TRUNC, false)
    want(FUSE_CAP_WRITEBACK_CACHE, options.usesWriteback)
    // Nobody else changes the bytes: cached pages stay until `invalidate`, whatever the time stamps say.
    want(FUSE_CAP_AUTO_INVAL_DATA, false)
    want(FUSE_CAP_EXPLICIT_INVAL_DATA, true)
    // A reply is copied once either way, and a write arrives in memory anyway.
    want(FUSE_CAP_SPLICE_READ, false)
    want(FUSE_CAP_SPLICE_WRITE, false)
    want(FUSE_CAP_SPLICE_MOVE, false)
    // Asynchronous direct I/O, read-ahead and write-back share this many slots. A request that is stuck keeps its
    // slot, so the kernel's default of 12 would let a dozen parked writes stop every later read-ahead.
    connection.max_background = 1024
    connection.congestion_threshold = 768
    awaitsWriteBack.store((connection.proto_major, connection.proto_minor) >= (7, 44), ordering: .relaxed)
    isStarted.store(true, ordering: .relaxed)
  }
}
