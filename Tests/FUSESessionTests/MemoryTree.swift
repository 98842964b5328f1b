import Dispatch
import FUSESession
import Glibc
import Synchronization
import TestSupport

/// A file system in memory, and the small hooks by which a test looks at its session.
///
///   data       a file of a fixed size, zeros at first; cached
///   held       its writes wait for the test's answer, its reads for the gate
///   forgotten  its writes are never answered
///   events     its readiness for poll(2) is the test's
final class MemoryTree: FileSystem {
  static let names = ["data", "held", "forgotten", "events"]

  struct State {
    var bytes: [UInt8]
    var changes: [AttributeChange] = []
    var writebacks = 0
    var releases = 0
    var held: [HeldWrite] = []
    var isReady = false
    var pollHandle: PollHandle?
  }

  let state: Mutex<State>
  /// Lets one reader of `held` through for each signal; counts those that came to it.
  let gate = DispatchSemaphore(value: 0)
  let readersAtGate = Atomic<Int>(0)

  init(size: Int = 1 << 16) { state = Mutex(State(bytes: [UInt8](repeating: 0, count: size))) }

  func lookup(_ name: String, in directory: InodeNumber) throws(Errno) -> Entry {
    guard let index = Self.names.firstIndex(of: name) else { throw Errno(ENOENT) }
    return Entry(try attributes(of: InodeNumber(UInt64(index) + 2)))
  }

  func attributes(of inode: InodeNumber, usedBy user: FileHandle?, by caller: Caller) throws(Errno) -> FileAttributes {
    try attributes(of: inode)
  }

  private func attributes(of inode: InodeNumber) throws(Errno) -> FileAttributes {
    let isRoot = inode == .root
    return FileAttributes(
      inode: inode, kind: isRoot ? .directory : .regular, permissions: isRoot ? 0o755 : 0o644,
      links: isRoot ? 2 : 1, owner: geteuid(), group: getegid(),
      size: inode.rawValue < 4 ? state.withLock { $0.bytes.count } : 0, accessed: FileTime(nanoseconds: 1),
      modified: FileTime(nanoseconds: -1), changed: FileTime(nanoseconds: 3))
  }

  func change(
    _ change: AttributeChange, of inode: InodeNumber, by caller: Caller
  ) throws(Errno) -> FileAttributes {
    state.withLock { $0.changes.append(change) }
    return try attributes(of: inode)
  }

  func entries(of directory: InodeNumber) throws(Errno) -> [DirectoryEntry] {
    Self.names.enumerated().map { index, name in
      DirectoryEntry(name: name, inode: InodeNumber(UInt64(index) + 2), kind: .regular)
    }
  }

  func space() throws(Errno) -> FileSystemSpace {
    FileSystemSpace(blockSize: 4096, blocks: 1000, freeBlocks: 300, files: 4)
  }

  func open(_ inode: InodeNumber, _ flags: OpenFlags, by caller: Caller) throws(Errno) -> OpenReply {
    let isData = inode.rawValue == 2
    return OpenReply(
      FileHandle(7), usesDirectIO: !isData, keepsCache: isData, allowsParallelWrites: inode.rawValue == 3)
  }

  func read(_ range: FileRange, of file: OpenFile, into output: inout OutputSpan<UInt8>) throws(Errno) {
    if file.inode.rawValue == 3 {
      readersAtGate.add(1, ordering: .relaxed)
      gate.wait()
    }
    state.withLock { state in
      for byte in state.bytes.dropFirst(range.start.bytes).prefix(range.count) { output.append(byte) }
    }
  }

  func write(
    _ bytes: Span<UInt8>, at offset: FileOffset, to file: OpenFile, as kind: WriteKind, by caller: Caller,
    reply: consuming WriteReply
  ) {
    switch file.inode.rawValue {
    case 3:
      let held = reply.hold()
      state.withLock { $0.held.append(held) }
    case 4: return
    default:
      let count = state.withLock { state in
        if kind == .writeback { state.writebacks += 1 }
        let count = max(0, min(bytes.count, state.bytes.count - offset.bytes))
        for index in 0..<count { state.bytes[offset.bytes + index] = bytes[index] }
        return count
      }
      if count > 0 { reply.succeed(count: count) } else { reply.fail(Errno(ENOSPC)) }
    }
  }

  func seek(_ target: SeekTarget, from offset: FileOffset, in file: OpenFile) throws(Errno) -> FileOffset {
    target == .data ? offset : FileOffset(state.withLock { $0.bytes.count })
  }

  func allocate(_ range: FileRange, mode: Int32, of file: OpenFile) throws(Errno) { throw Errno(EOPNOTSUPP) }
  func synchronize(_ file: OpenFile, dataOnly: Bool) throws(Errno) {}
  func flush(_ file: OpenFile) throws(Errno) {}
  func release(_ file: OpenFile) { state.withLock { $0.releases += 1 } }

  func poll(_ events: UInt32, of file: OpenFile, notify handle: PollHandle?) throws(Errno) -> UInt32 {
    state.withLock { state in
      state.pollHandle = handle ?? state.pollHandle
      return state.isReady ? events & UInt32(POLLIN) : 0
    }
  }
}
