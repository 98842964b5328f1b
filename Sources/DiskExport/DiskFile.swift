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
  /// Open files, but for those of errands.
  private let users = Atomic<Int>(0)
  private let session: SessionLink
  private let errands: DiskErrands
  private let strays = StrayWrites()

  init(chain: BackingChain, job: StreamJob, options: ExportOptions, session: SessionLink) {
    self.chain = chain
    self.session = session
    self.job = job
    self.options = options
    faults = FaultLog(log: options.log)
    errands = DiskErrands(mountPoint: options.mountPoint, size: chain.virtualSize)
    parked = ParkedWrites(chain: chain, timeout: options.noSpaceTimeout) {
      options.log("\(options.source): no space; writes wait, \(options.noSpaceTimeout) at most, until there is some")
    }
    let modified = FileTime(nanoseconds: chain.snapshot.layers[0].opened.modified)
    times = Lock(Times(accessed: modified, modified: modified, changed: modified))
  }

  deinit { errands.end() }

  private var end: GuestOffset { GuestOffset(chain.virtualSize.bytes) }
  private var wholeDisk: GuestRange { GuestRange(from: GuestOffset(0), to: end) }

  /// While somebody may write through the kernel's cache, pages that are dirty there are still holes here. The kernel
  /// does not write them back before it asks, so nothing may be called a hole until it has been made to.
  private var mayHaveDirtyPages: Bool { options.cachesPages && writers.load(ordering: .relaxed) > 0 }

  /// Has the kernel write back what is dirty in `range`; false where it is not known that it has.
  private func writeBackDirtyPages(in range: GuestRange, seeking: Bool) -> Bool {
    guard session.session?.tellsWhenWritten == true else { return false }
    return errands.writeBack(HostRange(at: HostOffset(range.start.bytes), count: range.count), seeking: seeking)
  }

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

  /// For `caller`, who looks, or who is about to read or write by `user`. ENOSPC for one who goes on writing past the end
  /// through the kernel's cache: that takes any amount, and `dd` from /dev/zero would never end.
  func attributes(usedBy user: FileHandle?, by caller: Caller) throws(Errno) -> FileAttributes {
    guard let user else { return attributes(writingBack: !errands.isOpening(caller)) }
    if DiskHandle(user).contains(.writing), strays.areRecent,
      hasFileOpen(
        Node.disk.name, inode: Node.disk.rawValue, from: HostOffset(end.bytes), thread: caller.process)
    {
      throw Errno(ENOSPC)
    }
    return attributes()
  }

  /// A table that cannot be read concerns whoever reads in its range, and keeps nobody from opening the disk: all of it
  /// counts as allocated then. So it does where pages may be dirty, unless `writingBack` has them written first; what is said
  /// then is true of this moment only.
  func attributes(writingBack: Bool = false) -> FileAttributes {
    let size = chain.virtualSize
    let mayBeDirty = mayHaveDirtyPages
    let isWritten = mayBeDirty && writingBack && writeBackDirtyPages(in: wholeDisk, seeking: false)
    let allocated = mayBeDirty && !isWritten ? size : chain.allocatedSize()
    let times = times.withLock { $0 }
    return FileAttributes(
      inode: Node.disk.inode, kind: .regular, permissions: options.permissions ?? (chain.isWritable ? 0o600 : 0o400),
      owner: options.owner ?? geteuid(), group: options.group ?? getegid(), size: size.bytes,
      blocks: allocated.roundedUp(to: 512).bytes / 512, accessed: times.accessed, modified: times.modified,
      changed: times.changed, validity: isWritten || strays.areRecent ? .zero : Self.validity)
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
  func open(_ flags: OpenFlags, by caller: Caller = Caller(user: 0, group: 0, process: 0)) throws(Errno) -> OpenReply {
    if errands.takes(openBy: caller) { return OpenReply(FileHandle(DiskHandle.errand.rawValue), keepsCache: true) }
    var handle = DiskHandle(flags)
    if flags.isWritable, !chain.isWritable { throw Errno(EROFS) }
    users.add(1, ordering: .relaxed)
    if flags.isWritable {
      writers.add(1, ordering: .relaxed)
      handle.writer = strays.open()
      // The blocks may count as holes what is about to be dirty.
      if options.cachesPages {
        session.session?.invalidateAttributes(of: Node.disk.inode)
        errands.start()
      }
    }
    return OpenReply(
      FileHandle(handle.rawValue), usesDirectIO: !options.cachesPages, keepsCache: options.cachesPages,
      allowsParallelWrites: true)
  }

  /// The kernel has written back what was dirty before it comes here.
  func release(_ handle: FileHandle) {
    let handle = DiskHandle(handle)
    if handle.contains(.errand) { return }
    // A mapping may outlive the last close.
    if users.subtract(1, ordering: .relaxed).newValue == 0 { errands.letGo(waiting: false) }
    guard handle.contains(.writing) else { return }
    writers.subtract(1, ordering: .relaxed)
    strays.close(handle.writer)
  }

  /// close(2) is the last chance to hear of an error for those who don't fsync.
  func flush(_ handle: FileHandle) throws(Errno) {
    if DiskHandle(handle).contains(.errand) { return }
    errands.letGo(waiting: true)
    guard DiskHandle(handle).contains(.writing) else { return }
    try synchronize()
    try strays.tell(DiskHandle(handle).writer, isSync: false)
  }

  /// For an open file, which is told of strays.
  func synchronize(_ handle: FileHandle) throws(Errno) {
    try synchronize()
    try strays.tell(DiskHandle(handle).writer, isSync: true)
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
    guard offset + ByteCount(bytes.count) <= end else { throw Errno(ENOSPC) }
    noteWritten(bytes.count)
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
  /// that failed. What lies past the end, and should not have been taken, is a stray.
  private func outcome(
    ofWritingBack count: Int, at offset: GuestOffset, _ result: Result<Void, ChainError>
  ) -> Result<Void, Errno> {
    if case .failure(let error) = result {
      chain.loseDurability(because: error)
      faults.note(error)
      return .failure(Errno(error))
    }
    noteWritten(countInside(count, at: offset))
    if offset + ByteCount(count) > end {
      strays.note()
      errands.restoreSize()
      session.session?.invalidateAttributes(of: Node.disk.inode)
    }
    return .success(())
  }

  private func noteWritten(_ count: Int) {
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
    var position = offset
    while position < end {
      let (isHole, count) = try extent(at: position, limit: end - position)
      if isHole == (target == .hole) { return position }
      position += count
    }
    guard target == .hole else { throw Errno(ENXIO) }
    return end
  }

  /// A hole of the chain is one when what is dirty there has been written back and it still is one.
  private func extent(at offset: GuestOffset, limit: ByteCount) throws(Errno) -> (isHole: Bool, count: ByteCount) {
    let mayBeDirty = mayHaveDirtyPages
    let found = try attempt { () throws(ChainError) in try chain.extent(at: offset, limit: limit) }
    guard found.isHole, mayBeDirty else { return found }
    guard writeBackDirtyPages(in: GuestRange(at: offset, count: found.count), seeking: true) else {
      return (false, found.count)
    }
    return try attempt { () throws(ChainError) in try chain.extent(at: offset, limit: found.count) }
  }
}

/// What is to be known of an open `disk`; it is its handle, so that nothing is kept for it here.
struct DiskHandle: OptionSet, Sendable {
  let rawValue: UInt64

  static let writing = Self(rawValue: 1)
  /// By O_DSYNC or O_SYNC.
  static let synchronous = Self(rawValue: 2)
  /// This process' own.
  static let errand = Self(rawValue: 4)

  /// The number of one that writes; 0 of others.
  var writer: UInt64 {
    get { rawValue >> 8 }
    set { self = Self(rawValue: rawValue & 0xFF | newValue << 8) }
  }

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
