import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import StreamJob
import Synchronization

/// `disk`: a block device in a file's clothes. Its size is fixed, and an open of it leaves nothing here but a count.
final class DiskFile: Sendable {
  struct Times: Sendable {
    var accessed: FileTime
    var modified: FileTime
    var changed: FileTime
  }

  let chain: BackingChain
  let faults: FaultLog
  let counters = IOCounters()
  let parked: ParkedWrites
  private let job: StreamJob
  private let options: ExportOptions
  private let times: Lock<Times>
  private let writers = Atomic<Int>(0)
  private let session: SessionLink
  private let sizeInKernel: SizeInKernel

  init(chain: BackingChain, job: StreamJob, options: ExportOptions, session: SessionLink) {
    self.chain = chain
    self.session = session
    self.job = job
    self.options = options
    faults = FaultLog(log: options.log)
    sizeInKernel = SizeInKernel(mountPoint: options.mountPoint, size: chain.virtualSize)
    parked = ParkedWrites(chain: chain, timeout: options.noSpaceTimeout) {
      options.log("\(options.source): no space; writes wait, \(options.noSpaceTimeout) at most, until there is some")
    }
    let modified = FileTime(nanoseconds: chain.snapshot.layers[0].opened.modified)
    times = Lock(Times(accessed: modified, modified: modified, changed: modified))
  }

  private var end: GuestOffset { GuestOffset(chain.virtualSize.bytes) }
  private var wholeDisk: GuestRange { GuestRange(from: GuestOffset(0), to: end) }

  /// While somebody may write through the kernel's cache, pages that are dirty there are still holes here. The kernel
  /// does not write them back first, so nothing may be called a hole then.
  private var mayHaveDirtyPages: Bool { options.cachesPages && writers.load(ordering: .relaxed) > 0 }

  /// Runs `body` and makes what it throws a fault and an errno.
  private func attempt<Result>(_ body: () throws(ChainError) -> Result) throws(Errno) -> Result {
    do throws(ChainError) {
      return try body()
    } catch {
      faults.note(error)
      throw Errno(error)
    }
  }
}

// MARK: Attributes

extension DiskFile {
  /// The kernel looks at the attributes with every write(2). Nothing but the blocks ever changes behind its back.
  private static let validity: Duration = .seconds(1)

  /// A table that cannot be read concerns whoever reads in its range, and keeps nobody from opening the disk: all of it
  /// counts as allocated then.
  func attributes() -> FileAttributes {
    let size = chain.virtualSize
    let allocated = mayHaveDirtyPages ? size : chain.allocatedSize()
    let times = times.withLock { $0 }
    return FileAttributes(
      inode: Node.disk.inode, kind: .regular, permissions: options.permissions ?? (chain.isWritable ? 0o600 : 0o400),
      owner: options.owner ?? geteuid(), group: options.group ?? getegid(), size: size.bytes,
      blocks: allocated.roundedUp(to: 512).bytes / 512, accessed: times.accessed, modified: times.modified,
      changed: times.changed, validity: Self.validity)
  }

  /// ENOSPC for those who write, as long as somebody writes past the end through the kernel's cache: that takes any
  /// amount, and `dd` from /dev/zero would never end. The kernel asks before each write(2).
  func checkSize(for user: FileHandle) throws(Errno) {
    if DiskHandle(user).contains(.writing), sizeInKernel.isWrong { throw Errno(ENOSPC) }
  }

  /// A disk has one size. A truncation to nothing, with which `> disk` and `cp x disk` begin, is refused as any other: who
  /// believes that the old bytes are gone skips the zeros of what he writes. Refusing times would make fsync(2) fail.
  func change(_ change: AttributeChange) throws(Errno) -> FileAttributes {
    guard change.permissions == nil, change.owner == nil, change.group == nil else { throw Errno(EPERM) }
    if let size = change.size, size != chain.virtualSize.bytes { throw Errno(EPERM) }
    times.withLock { times in
      let now = FileTime(nanoseconds: WallClock.nanoseconds)
      if let accessed = change.accessed { times.accessed = accessed.resolved(now) }
      if let modified = change.modified { times.modified = modified.resolved(now) }
      times.changed = change.changed ?? now
    }
    return attributes()
  }
}

// MARK: Opening

extension DiskFile {
  func open(_ flags: OpenFlags) throws(Errno) -> OpenReply {
    if flags.isWritable {
      guard chain.isWritable else { throw Errno(EROFS) }
      writers.add(1, ordering: .relaxed)
      // The blocks may count as holes what is about to be dirty.
      if options.cachesPages { session.session?.invalidateAttributes(of: Node.disk.inode) }
    }
    return OpenReply(
      FileHandle(DiskHandle(flags).rawValue), usesDirectIO: !options.cachesPages, keepsCache: options.cachesPages,
      allowsParallelWrites: true)
  }

  /// The kernel has written back what was dirty before it comes here.
  func release(_ handle: FileHandle) {
    if DiskHandle(handle).contains(.writing) { writers.subtract(1, ordering: .relaxed) }
  }

  /// close(2) is the last chance to hear of an error for those who don't fsync.
  func flush(_ handle: FileHandle) throws(Errno) {
    if DiskHandle(handle).contains(.writing) { try synchronize() }
  }

  func synchronize() throws(Errno) {
    try attempt { () throws(ChainError) in try chain.flush() }
    counters.flushes.add(bytes: 0)
  }
}

// MARK: Bytes

extension DiskFile {
  func read(_ range: GuestRange, into output: inout OutputSpan<UInt8>) throws(Errno) {
    let range = range.clamped(to: wholeDisk)
    if range.isEmpty { return }
    do throws(ChainError) {
      if try chain.read(range, into: &output) { job.hint(range) }
    } catch {
      faults.note(error)
      throw Errno(error)
    }
    counters.reads.add(bytes: range.count.bytes)
  }

  /// Writes what of `bytes` lies within the disk. ENOSPC where not all does, as of a device; a shorter answer would
  /// become EIO in the kernel. `durably`: on return they are durable; writers that come together share the sync.
  func write(_ bytes: Span<UInt8>, at offset: GuestOffset, durably: Bool = false) throws(Errno) {
    try attempt { () throws(ChainError) in try writeInside(bytes, at: offset) }
    try noteWritten(bytes.count, at: offset)
    if durably { try synchronize() }
  }

  /// How many of `count` bytes from `offset` on lie within the disk.
  private func countInside(_ count: Int, at offset: GuestOffset) -> Int {
    GuestRange(at: offset, count: ByteCount(count)).clamped(to: wholeDisk).count.bytes
  }

  private func writeInside(_ bytes: Span<UInt8>, at offset: GuestOffset) throws(ChainError) {
    let count = countInside(bytes.count, at: offset)
    if count > 0 { try chain.write(bytes.extracting(first: count), at: offset) }
  }

  /// Writes pages that the kernel has promised to somebody. nil: there is no space, and they have to be parked.
  func writeBack(_ bytes: Span<UInt8>, at offset: GuestOffset) -> Result<Void, Errno>? {
    let result = Result { () throws(ChainError) in try writeInside(bytes, at: offset) }
    if case .failure(let error) = result, error.isOutOfSpace { return nil }
    return outcome(ofWritingBack: bytes.count, at: offset, result)
  }

  /// Has pages written that `writeBack` found no space for; `answer` is called once, by another thread.
  func park(
    _ bytes: Span<UInt8>, at offset: GuestOffset, answer: @escaping @Sendable (Result<Void, Errno>) -> Void
  ) {
    let count = bytes.count
    let inside = bytes.extracting(first: countInside(count, at: offset))
    parked.park([UInt8](copying: inside), at: offset) { result in
      answer(self.outcome(ofWritingBack: count, at: offset, result))
    }
  }

  /// The kernel drops a page whose write-back failed, and whoever wrote it may never hear of it: that is as bad as a sync
  /// that failed. Not so where the page lies past the end, and should not have been taken.
  private func outcome(
    ofWritingBack count: Int, at offset: GuestOffset, _ result: Result<Void, ChainError>
  ) -> Result<Void, Errno> {
    if case .failure(let error) = result {
      chain.loseDurability(because: error)
      faults.note(error)
      return .failure(Errno(error))
    }
    return Result { () throws(Errno) in
      do throws(Errno) {
        try noteWritten(count, at: offset)
      } catch {
        sizeInKernel.restore()
        session.session?.invalidateAttributes(of: Node.disk.inode)
        throw error
      }
    }
  }

  private func noteWritten(_ count: Int, at offset: GuestOffset) throws(Errno) {
    guard offset + ByteCount(count) <= end else { throw Errno(ENOSPC) }
    counters.writes.add(bytes: count)
    let now = FileTime(nanoseconds: WallClock.nanoseconds)
    times.withLock { $0.modified = now }
  }
}

// MARK: Holes

extension DiskFile {
  /// fallocate(2) as on a block device: holes and zeros read back as zeros, and nothing grows. Space is not allocated in
  /// advance, for no image can promise that a later write needs no more; glibc's posix_fallocate(3) then writes zeros where
  /// it reads some. Past the end it would do so too, and the kernel's cache would take them: that is refused by another word.
  func allocate(_ range: GuestRange, mode: AllocationMode, by handle: FileHandle) throws(Errno) {
    guard mode.makesZeros || mode.isSubset(of: .keepSize) else { throw Errno(EOPNOTSUPP) }
    guard mode.contains(.keepSize) || range.end <= end else { throw Errno(EFBIG) }
    guard mode.makesZeros else { throw Errno(EOPNOTSUPP) }
    let inside = range.clamped(to: wholeDisk)
    if inside.isEmpty { return }
    let reserving = mode.contains(.zeroRange) || !options.discards
    try attempt { () throws(ChainError) in try chain.zero(inside, reserving: reserving) }
    counters.zeros.add(bytes: inside.count.bytes)
    if DiskHandle(handle).contains(.synchronous) { try synchronize() }
  }

  /// The next data or hole from `offset` on; the end of the disk counts as a hole. ENXIO where there is none.
  func seek(_ target: SeekTarget, from offset: GuestOffset) throws(Errno) -> GuestOffset {
    guard offset < end else { throw Errno(ENXIO) }
    if mayHaveDirtyPages { return target == .data ? offset : end }
    var position = offset
    while position < end {
      let (isHole, count) = try attempt { () throws(ChainError) in
        try chain.extent(at: position, limit: end - position)
      }
      if isHole == (target == .hole) { return position }
      position += count
    }
    guard target == .hole else { throw Errno(ENXIO) }
    return end
  }
}

/// What is to be known of an open `disk`; it is its handle, so that nothing is kept for it here.
struct DiskHandle: OptionSet, Sendable {
  let rawValue: UInt64

  static let writing = Self(rawValue: 1)
  /// By O_DSYNC or O_SYNC.
  static let synchronous = Self(rawValue: 2)

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ handle: FileHandle) { self.init(rawValue: handle.rawValue) }

  init(_ flags: OpenFlags) {
    self = flags.isWritable ? .writing : []
    if flags.isSynchronous { insert(.synchronous) }
  }
}

/// The mode of fallocate(2).
struct AllocationMode: OptionSet, Sendable {
  let rawValue: Int32

  static let keepSize = Self(rawValue: 0x01)
  static let punchHole = Self(rawValue: 0x02)
  static let zeroRange = Self(rawValue: 0x10)

  /// A hole never changes the size; fallocate(2) asks that this be said.
  var makesZeros: Bool {
    self == [.punchHole, .keepSize] || subtracting(.keepSize) == .zeroRange
  }
}

extension AttributeChange.Time {
  fileprivate func resolved(_ now: FileTime) -> FileTime {
    switch self {
    case .now: now
    case .at(let time): time
    }
  }
}
