import Glibc
package import HostStorage
import Synchronization

/// A storage in memory that records every change, fails as it is told, and can be stopped before any call.
package final class MemoryStorage: Storage {
  package let path: String
  package let isReadOnly: Bool
  private let identity: StorageIdentity
  private let journal: StorageJournal
  private let file: Int
  private let state: Mutex<State>

  fileprivate struct State {
    var content: SparseBytes
    /// How long the file is at least, and where somebody else has cut it off.
    var knownEnd: Int
    var lostFrom = Int.max
    var faults: FaultPlan?
    var capacity: Int?
    var syncFailure: Int32?
    var clock = 0
    var links = 1
    var isClosed = false
    var locks: [ImageLock] = []
    var hook: (@Sendable (StorageAction, HostRange) -> Void)?
    var pauseWithinWrites: (@Sendable () -> Void)?
  }

  private static let inodes = Atomic<UInt64>(1)

  package init(
    _ content: SparseBytes = SparseBytes(), path: String = "memory", readOnly: Bool = false,
    journal: StorageJournal = StorageJournal()
  ) {
    self.path = path
    self.journal = journal
    file = journal.addFile()
    isReadOnly = readOnly
    identity = StorageIdentity(device: 0, inode: Self.inodes.add(1, ordering: .relaxed).newValue)
    state = Mutex(State(content: content, knownEnd: content.size))
  }

  package convenience init(_ bytes: [UInt8], path: String = "memory", readOnly: Bool = false) {
    self.init(SparseBytes(bytes), path: path, readOnly: readOnly)
  }

  // MARK: What a test sees and sets

  package var content: SparseBytes { state.withLock { $0.content } }
  /// Every change in the order in which it was made, since the beginning or the last `forgetLog`.
  package var log: [StorageOperation] { journal.entries.filter { $0.file == file }.map(\.operation) }
  /// The length of the journal.
  package var position: Int { journal.count }
  package var isClosed: Bool { state.withLock { $0.isClosed } }
  package var locks: [ImageLock] { state.withLock { $0.locks } }

  package func forgetLog() { journal.forget() }

  /// The plan, with what it has counted so far.
  package var faults: FaultPlan? { state.withLock { $0.faults } }

  /// Replaces the plan; nil: nothing fails, except a sync after a failed one.
  package func setFaults(_ plan: FaultPlan?) { state.withLock { $0.faults = plan } }

  /// Bytes of host space; a call that needs more fails with ENOSPC. Nil: no limit.
  package func setCapacity(_ capacity: Int?) { state.withLock { $0.capacity = capacity } }

  /// Runs before every call, on its thread and without a lock: it may block, and may look at the storage.
  package func setHook(_ hook: (@Sendable (StorageAction, HostRange) -> Void)?) { state.withLock { $0.hook = hook } }

  /// Has every write done in two halves with this between them, as a host may; nil: in one.
  package func setPauseWithinWrites(_ pause: (@Sendable () -> Void)?) {
    state.withLock { $0.pauseWithinWrites = pause }
  }

  /// As when somebody else cuts the file off, or makes it longer again.
  package func cut(to size: Int) {
    state.withLock { state in
      state.content.resize(to: size)
      state.clock += 1
    }
  }

  /// As when somebody else removes the file.
  package func unlink() { state.withLock { $0.links = 0 } }

  // MARK: Storage

  package func status() -> StorageStatus {
    state.withLock { state in
      StorageStatus(
        identity: identity, size: ByteCount(state.content.size), allocated: ByteCount(state.content.allocated),
        modified: state.clock, links: state.links, isBlockDevice: false)
    }
  }

  package func space() -> (free: ByteCount, total: ByteCount) {
    state.withLock { state in
      let total = state.capacity ?? 1 << 50
      return (ByteCount(max(0, total - state.content.allocated)), ByteCount(total))
    }
  }

  package func read(
    _ count: ByteCount, at offset: HostOffset, into output: inout OutputSpan<UInt8>
  ) throws(StorageError) {
    let range = HostRange(at: offset, count: count)
    let bytes = try perform(.read, "read", range) { (state, short) throws(Refusal) in
      if range.end.bytes > state.content.size { state.lookForCut() }
      if range.end.bytes > state.lostFrom { throw .cut }
      let whole = min(range.end.bytes, state.content.size)
      let end = short == nil ? whole : (offset.bytes + whole) / 2
      return offset.bytes < end ? state.content.bytes(in: offset.bytes..<end) : []
    }
    output.append(copying: bytes.span)
  }

  package func write(_ bytes: Span<UInt8>, at offset: HostOffset) throws(StorageError) {
    let bytes = [UInt8](capacity: bytes.count) { $0.append(copying: bytes) }
    guard let pause = state.withLock({ $0.pauseWithinWrites }), bytes.count > 1 else {
      return try change(.write, "write", .write(bytes, at: offset.bytes))
    }
    let half = bytes.count / 2
    try change(.write, "write", .write(Array(bytes[..<half]), at: offset.bytes))
    pause()
    try change(.write, "write", .write(Array(bytes[half...]), at: offset.bytes + half))
  }

  package func zero(_ range: HostRange) throws(StorageError) {
    try change(.zero, "zero", .zero(range.plain))
  }

  package func punch(_ range: HostRange) throws(StorageError) {
    try change(.punch, "punch", .punch(range.plain))
  }

  package func reserve(_ range: HostRange) throws(StorageError) {
    try change(.reserve, "reserve space in", .reserve(range.plain))
  }

  package func resize(to size: ByteCount) throws(StorageError) {
    try change(.resize, "resize", .resize(to: size.bytes))
  }

  package func mayClone(from source: any Storage) -> Bool { source is MemoryStorage }

  /// Copies from another `MemoryStorage`; one that cannot be read is the caller's to find out.
  package func clone(
    _ count: ByteCount, from source: any Storage, at sourceOffset: HostOffset, to offset: HostOffset
  ) throws(StorageError) -> Bool {
    guard let source = source as? MemoryStorage, let bytes = try? source.bytes(count, at: sourceOffset),
      bytes.count == count.bytes
    else { return false }
    try change(.clone, "clone", .write(bytes, at: offset.bytes))
    return true
  }

  package func sync() throws(StorageError) {
    let failure = try perform(.sync, "sync", HostRange(0..<0)) { (state, _) throws(Refusal) in
      try state.checkLength()
      if state.syncFailure == nil { state.syncFailure = state.faults?.fault(of: .sync)?.errno }
      if state.syncFailure == nil { self.journal.append(.sync, file: self.file) }
      return state.syncFailure
    }
    if let failure { throw StorageError(code: .syncLost, errno: failure, operation: "sync", path: path) }
  }

  package func extent(at offset: HostOffset, limit: ByteCount) throws(StorageError) -> StorageExtent {
    try perform(.extent, "look for holes", HostRange(at: offset, count: limit)) { state, _ in
      if offset.bytes >= state.lostFrom { return StorageExtent(.pastEnd, count: limit) }
      return state.content.extent(at: offset.bytes, limit: min(limit.bytes, state.lostFrom - offset.bytes))
    }
  }

  package func lock(_ mode: ImageLock) { state.withLock { $0.locks.append(mode) } }

  package func close() {
    state.withLock { state in
      state.isClosed = true
      state.locks = []
    }
  }

  private func change(
    _ action: StorageAction, _ name: String, _ operation: StorageOperation
  ) throws(StorageError) {
    let offset = HostOffset(operation.range.lowerBound)
    let range = HostRange(at: offset, count: ByteCount(operation.range.count))
    try perform(action, name, range) { (state, short) throws(Refusal) in
      guard !self.isReadOnly else { throw Refusal(errno: EBADF) }
      try state.checkLength()
      if let capacity = state.capacity, operation.takesSpace {
        let needed = state.content.missing(in: operation.range)
        guard needed == 0 || state.content.allocated + needed <= capacity else { throw Refusal(errno: ENOSPC) }
      }
      if let done = short?.fallsShort == true ? operation.firstHalf : operation {
        done.apply(to: &state.content)
        state.noteEnd(of: done)
        self.journal.append(done, file: self.file)
        state.clock += 1
      }
      if let short { throw Refusal(errno: short.errno) }
    }
  }

  fileprivate struct Refusal: Error {
    var code = StorageError.Code.host
    let errno: Int32

    static let cut = Refusal(code: .cut, errno: EIO)
  }

  /// `body` is told of a call that falls short, or fails when it is done.
  private func perform<Result: Sendable>(
    _ action: StorageAction, _ name: String, _ range: HostRange,
    _ body: (inout State, _ short: FaultPlan.Fault?) throws(Refusal) -> Result
  ) throws(StorageError) -> Result {
    state.withLock { $0.hook }?(action, range)
    do {
      return try state.withLock { state throws(Refusal) in
        guard !state.isClosed else { throw Refusal(errno: EBADF) }
        let fault = action == .sync ? nil : state.faults?.fault(of: action)
        if let fault, !fault.fallsShort, !fault.isDone { throw Refusal(errno: fault.errno) }
        return try body(&state, fault)
      }
    } catch {
      throw StorageError(
        code: error.code, errno: error.errno, operation: name, path: path, offset: action == .sync ? nil : range.start)
    }
  }
}

extension MemoryStorage.State {
  fileprivate mutating func lookForCut() {
    if content.size < knownEnd { lostFrom = min(lostFrom, content.size) }
  }

  /// Only what was done here counts; somebody else may have let the file grow.
  fileprivate mutating func noteEnd(of operation: StorageOperation) {
    if case .resize(let size) = operation {
      knownEnd = size
    } else if operation.takesSpace, !operation.range.isEmpty {
      knownEnd = max(knownEnd, operation.range.upperBound)
    }
  }

  fileprivate mutating func checkLength() throws(MemoryStorage.Refusal) {
    lookForCut()
    if lostFrom < .max { throw .cut }
  }
}

extension StorageOperation {
  fileprivate var takesSpace: Bool {
    switch self {
    case .write, .zero, .reserve: true
    case .punch, .resize, .sync: false
    }
  }
}

extension HostRange {
  fileprivate var plain: Range<Int> { start.bytes..<end.bytes }
}
