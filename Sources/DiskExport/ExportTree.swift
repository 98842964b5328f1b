import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import StreamJob
import Synchronization

/// Answers the kernel's requests.
final class ExportTree: FileSystem {
  private let disk: DiskFile
  private let control: ControlFile
  private let settings: StreamSettings
  private let texts: TextFiles
  private let chain: BackingChain
  private let mounted = FileTime(nanoseconds: WallClock.nanoseconds)
  private let lookups = Atomic<UInt64>(0)
  /// The mount's owner.
  private let owner = geteuid()
  private let group = getegid()

  init(chain: BackingChain, job: StreamJob, options: ExportOptions, session: SessionLink) {
    self.chain = chain
    disk = DiskFile(chain: chain, job: job, options: options, session: session)
    control = ControlFile(chain: chain, job: job)
    settings = StreamSettings(job: job)
    let report = MountReport(chain: chain, job: job, disk: disk, control: control, mountPoint: options.mountPoint)
    texts = TextFiles { report.text(of: $0) }
    job.onChange { [texts] in texts.noteChange() }
  }

  private func node(_ inode: InodeNumber) throws(Errno) -> Node {
    guard let node = Node(inode) else { throw Errno(ENOENT) }
    return node
  }
}

// MARK: Names and attributes

extension ExportTree {
  func lookup(_ name: String, in directory: InodeNumber) throws(Errno) -> Entry {
    guard let node = try node(directory).children.first(where: { $0.name == name }) else { throw Errno(ENOENT) }
    let attributes = attributes(of: node)
    guard node.takesWords else { return Entry(attributes, nameValidity: .seconds(3600)) }
    let number = lookups.add(1, ordering: .relaxed).newValue
    return Entry(attributes, inode: node.inode(lookup: number))
  }

  func attributes(of inode: InodeNumber, usedBy user: FileHandle?, by caller: Caller) throws(Errno) -> FileAttributes {
    let node = try node(inode)
    if node == .disk { return try disk.attributes(usedBy: user, by: caller) }
    return attributes(of: node)
  }

  private func attributes(of node: Node) -> FileAttributes {
    if node == .disk { return disk.attributes() }
    return FileAttributes(
      inode: node.inode, kind: node.kind, permissions: node.permissions, links: node.kind == .directory ? 2 : 1,
      owner: owner, group: group, accessed: mounted, modified: mounted, changed: mounted)
  }

  /// Beside `disk` only an emptying or a touch has a meaning, which is none.
  func change(_ change: AttributeChange, of inode: InodeNumber, by caller: Caller) throws(Errno) -> FileAttributes {
    let node = try node(inode)
    if node == .disk { return try disk.change(change) }
    guard change.permissions == nil, change.owner == nil, change.group == nil, change.size ?? 0 == 0 else {
      throw Errno(EPERM)
    }
    return attributes(of: node)
  }

  func entries(of directory: InodeNumber) throws(Errno) -> [DirectoryEntry] {
    try node(directory).children.map { DirectoryEntry(name: $0.name, inode: $0.inode, kind: $0.kind) }
  }

  func space() throws(Errno) -> FileSystemSpace {
    do throws(ChainError) {
      let (free, total) = try chain.space()
      let block = 4096
      return FileSystemSpace(
        blockSize: block, blocks: total.bytes / block, freeBlocks: free.bytes / block, files: Node.allCases.count)
    } catch {
      throw Errno(error)
    }
  }
}

// MARK: Open files

extension ExportTree {
  /// The kernel has looked at the permission bits; but root of a container, say, is not the root that may complete.
  func open(_ inode: InodeNumber, _ flags: OpenFlags, by caller: Caller) throws(Errno) -> OpenReply {
    let node = try node(inode)
    if node == .disk { return try disk.open(flags, by: caller) }
    if node.kind == .directory { throw Errno(EISDIR) }
    if flags.isWritable {
      guard node.takesWords, caller.user == 0 || caller.user == owner else { throw Errno(EACCES) }
    }
    return OpenReply(texts.open(node, isNonBlocking: flags.isNonBlocking), usesDirectIO: true)
  }

  func release(_ file: OpenFile) {
    if Node(file.inode) == .disk { disk.release(file.handle) } else { texts.release(file.handle) }
  }

  func read(_ range: FileRange, of file: OpenFile, into output: inout OutputSpan<UInt8>) throws(Errno) {
    guard try node(file.inode) == .disk else { return texts.read(range, of: file.handle, into: &output) }
    try disk.read(GuestRange(range), into: &output)
  }

  func write(
    _ bytes: Span<UInt8>, at offset: FileOffset, to file: OpenFile, as kind: WriteKind, by caller: Caller,
    reply: consuming WriteReply
  ) {
    switch (Node(file.inode), kind) {
    case (.disk, .direct), (.disk, .synchronous):
      answer(bytes.count, reply) { () throws(Errno) in
        try disk.write(bytes, at: GuestOffset(offset.bytes), durably: kind == .synchronous)
      }
    case (.disk, .writeback): writeBack(bytes, at: GuestOffset(offset.bytes), reply: reply)
    case (.control, _):
      control.write(bytes, at: offset, waiting: !texts.isNonBlocking(file.handle), reply: reply)
    case (let node?, _):
      answer(bytes.count, reply) { () throws(Errno) in
        guard offset.bytes == 0 else { throw Errno(EINVAL) }
        try settings.set(node, to: bytes.withoutNewline)
      }
    case (nil, _): reply.fail(Errno(ENOENT))
    }
  }

  private func answer(_ count: Int, _ reply: consuming WriteReply, _ body: () throws(Errno) -> Void) {
    let result = Result { () throws(Errno) in try body() }
    switch result {
    case .success: reply.succeed(count: count)
    case .failure(let error): reply.fail(error)
    }
  }

  private func writeBack(_ bytes: Span<UInt8>, at offset: GuestOffset, reply: consuming WriteReply) {
    let count = bytes.count
    switch disk.writeBack(bytes, at: offset) {
    case .success: reply.succeed(count: count)
    case .failure(let error): reply.fail(error)
    case nil:
      let held = reply.hold()
      disk.park(bytes, at: offset) { result in
        switch result {
        case .success: held.succeed(count: count)
        case .failure(let error): held.fail(error)
        }
      }
    }
  }

  func seek(_ target: SeekTarget, from offset: FileOffset, in file: OpenFile) throws(Errno) -> FileOffset {
    guard try node(file.inode) == .disk else { throw Errno(EINVAL) }
    return FileOffset(try disk.seek(target, from: GuestOffset(offset.bytes)).bytes)
  }

  func allocate(_ range: FileRange, mode: Int32, of file: OpenFile) throws(Errno) {
    guard try node(file.inode) == .disk else { throw Errno(EOPNOTSUPP) }
    try disk.allocate(GuestRange(range), mode: AllocationMode(rawValue: mode), by: file.handle)
  }

  func synchronize(_ file: OpenFile, dataOnly: Bool) throws(Errno) {
    if try node(file.inode) == .disk { try disk.synchronize(file.handle) }
  }

  func flush(_ file: OpenFile) throws(Errno) {
    if try node(file.inode) == .disk { try disk.flush(file.handle) }
  }

  func poll(_ events: UInt32, of file: OpenFile, notify handle: PollHandle?) throws(Errno) -> UInt32 {
    try node(file.inode) == .disk ? TextFiles.ready : texts.poll(file.handle, notify: handle)
  }
}

extension GuestRange {
  fileprivate init(_ range: FileRange) {
    self.init(at: GuestOffset(range.start.bytes), count: ByteCount(range.count))
  }
}
