import CFUSE
import Glibc

// libfuse's table of callbacks. What is absent from it, libfuse answers: ENOSYS for extended attributes, access,
// ioctl, bmap and copy_file_range, which the kernel then stops asking for; success for opendir and releasedir.

/// The table is filled in a function, not at top level: closures of a main.swift would belong to the main actor.
func operationTable() -> fuse_lowlevel_ops {
  var table = fuse_lowlevel_ops()
  unsafe table.`init` = { session, connection in
    guard let session = unsafe session, let connection = unsafe connection else { return }
    unsafe Unmanaged<FUSESession>.fromOpaque(session)._withUnsafeGuaranteedRef { session in
      unsafe session.start(&connection.pointee)
    }
  }
  addTree(to: &table)
  addData(to: &table)
  addOpenFiles(to: &table)
  addRefusals(to: &table)
  return table
}

/// Names and attributes.
private func addTree(to table: inout fuse_lowlevel_ops) {
  unsafe table.lookup = { request, directory, name in
    guard let name = unsafe name else { return unsafe refuse(request) }
    let text = unsafe String(cString: name)
    unsafe serve(
      request, { tree throws(Errno) in try tree.lookup(text, in: InodeNumber(directory)) }, reply: { $0.succeed($1) })
  }
  unsafe table.getattr = { request, inode, info in
    let user = unsafe info.map { unsafe FileHandle($0.pointee.fh) }
    let caller = unsafe Caller(request)
    unsafe serve(
      request, { tree throws(Errno) in try tree.attributes(of: InodeNumber(inode), usedBy: user, by: caller) },
      reply: { $0.succeed($1) })
  }
  unsafe table.setattr = { request, inode, status, which, info in
    guard let status = unsafe status else { return unsafe refuse(request) }
    var change = unsafe AttributeChange(status.pointee, which: which)
    change.handle = unsafe info.map { unsafe FileHandle($0.pointee.fh) }
    let caller = unsafe Caller(request)
    unsafe serve(
      request, { tree throws(Errno) in try tree.change(change, of: InodeNumber(inode), by: caller) },
      reply: { $0.succeed($1) })
  }
  unsafe table.readdir = { request, directory, size, offset, _ in
    unsafe serve(request, { tree throws(Errno) in try tree.entries(of: InodeNumber(directory)) }) { reply, entries in
      replyDirectory(reply, entries, from: offset, size: size)
    }
  }
  unsafe table.statfs = { request, _ in
    unsafe serve(request, { tree throws(Errno) in try tree.space() }, reply: { $0.succeed($1) })
  }
}

/// The life of an open file.
private func addOpenFiles(to table: inout fuse_lowlevel_ops) {
  unsafe table.open = { request, inode, info in
    let flags = unsafe OpenFlags(rawValue: info?.pointee.flags ?? 0)
    let caller = unsafe Caller(request)
    unsafe serve(request) { reply, session in
      do throws(Errno) {
        let opened = try session.fileSystem.open(InodeNumber(inode), flags, by: caller)
        if !reply.succeed(opened) {
          session.fileSystem.release(OpenFile(inode: InodeNumber(inode), handle: opened.handle))
        }
      } catch {
        reply.fail(error)
      }
    }
  }
  unsafe table.flush = { request, inode, info in
    let file = unsafe OpenFile(inode, info)
    unsafe serve(request, { tree throws(Errno) in try tree.flush(file) }, reply: { reply, _ in reply.succeed() })
  }
  unsafe table.release = { request, inode, info in
    let file = unsafe OpenFile(inode, info)
    unsafe serve(request, { $0.release(file) }, reply: { reply, _ in reply.succeed() })
  }
  unsafe table.poll = { request, inode, info, handle in
    let file = unsafe OpenFile(inode, info)
    let events = unsafe info?.pointee.poll_events ?? 0
    unsafe serve(request) { reply, session in
      let notified = unsafe handle.map { unsafe PollHandle($0, session: session) }
      do throws(Errno) {
        let ready = try session.fileSystem.poll(events, of: file, notify: notified)
        reply.succeed(events: ready)
      } catch {
        reply.fail(error)
      }
    }
  }
}

/// The bytes of open files.
private func addData(to table: inout fuse_lowlevel_ops) {
  unsafe table.read = { request, inode, size, offset, info in
    let file = unsafe OpenFile(inode, info)
    unsafe serve(request) { reply, session in
      read(FileRange(at: FileOffset(offset), count: size), of: file, session, reply)
    }
  }
  unsafe table.write = { request, inode, bytes, size, offset, info in
    let file = unsafe OpenFile(inode, info)
    let kind = unsafe info.map { unsafe WriteKind($0.pointee) } ?? .direct
    let caller = unsafe Caller(request)
    unsafe serve(request) { reply, session in
      let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: size).bindMemory(to: UInt8.self)
      unsafe session.fileSystem.write(
        buffer.span, at: FileOffset(offset), to: file, as: kind, by: caller,
        reply: WriteReply(reply, session: session))
    }
  }
  unsafe table.lseek = { request, inode, offset, whence, info in
    let file = unsafe OpenFile(inode, info)
    unsafe serve(
      request,
      { tree throws(Errno) in
        guard let target = SeekTarget(whence: whence) else { throw Errno(EINVAL) }
        return try tree.seek(target, from: FileOffset(offset), in: file)
      }, reply: { $0.succeed($1) })
  }
  unsafe table.fallocate = { request, inode, mode, offset, length, info in
    let file = unsafe OpenFile(inode, info)
    let range = FileRange(at: FileOffset(offset), count: length)
    unsafe serve(
      request, { tree throws(Errno) in try tree.allocate(range, mode: mode, of: file) },
      reply: { reply, _ in reply.succeed() })
  }
  unsafe table.fsync = { request, inode, dataOnly, info in
    let file = unsafe OpenFile(inode, info)
    unsafe serve(
      request, { tree throws(Errno) in try tree.synchronize(file, dataOnly: dataOnly != 0) },
      reply: { reply, _ in reply.succeed() })
  }
}

/// The tree is fixed: whatever would add, rename or remove a name is EPERM.
private func addRefusals(to table: inout fuse_lowlevel_ops) {
  unsafe table.mknod = { request, _, _, _, _ in unsafe refuse(request) }
  unsafe table.mkdir = { request, _, _, _ in unsafe refuse(request) }
  unsafe table.unlink = { request, _, _ in unsafe refuse(request) }
  unsafe table.rmdir = { request, _, _ in unsafe refuse(request) }
  unsafe table.symlink = { request, _, _, _ in unsafe refuse(request) }
  unsafe table.rename = { request, _, _, _, _, _ in unsafe refuse(request) }
  unsafe table.link = { request, _, _, _ in unsafe refuse(request) }
  unsafe table.create = { request, _, _, _, _ in unsafe refuse(request) }
}

private func refuse(_ request: fuse_req_t?) { unsafe Request(request).fail(Errno(EPERM)) }

/// Hands over the duty to answer, and the session. libfuse's user data is the session that it was made with, and
/// `run` keeps that while callbacks run, so no reference is counted.
private func serve(_ request: fuse_req_t?, _ body: (consuming Request, FUSESession) -> Void) {
  guard let session = unsafe fuse_req_userdata(request) else { return unsafe refuse(request) }
  unsafe Unmanaged<FUSESession>.fromOpaque(session)._withUnsafeGuaranteedRef { session in
    unsafe body(Request(request), session)
  }
}

/// Answers with what `work` returns, or with the error that it throws.
private func serve<Answer>(
  _ request: fuse_req_t?, _ work: (any FileSystem) throws(Errno) -> Answer,
  reply: (consuming Request, Answer) -> Void
) {
  unsafe serve(request) { request, session in
    do throws(Errno) {
      let answer = try work(session.fileSystem)
      reply(request, answer)
    } catch {
      request.fail(error)
    }
  }
}

private func read(_ range: FileRange, of file: OpenFile, _ session: FUSESession, _ request: consuming Request) {
  guard range.count <= ReplyBuffer.capacity else { return request.fail(Errno(EINVAL)) }
  guard let start = unsafe ReplyBuffer.ofThisThread() else { return request.fail(Errno(ENOMEM)) }
  let buffer = unsafe UnsafeMutableRawBufferPointer(start: start, count: range.count).bindMemory(to: UInt8.self)
  var output = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
  do throws(Errno) {
    try session.fileSystem.read(range, of: file, into: &output)
    let count = unsafe output.finalize(for: buffer)
    unsafe request.succeed(UnsafeRawBufferPointer(start: start, count: count))
  } catch {
    request.fail(error)
  }
}

/// Answers with as many entries as fit into `size` bytes; an entry's offset is the index of the next one.
private func replyDirectory(_ request: consuming Request, _ entries: [DirectoryEntry], from offset: Int, size: Int) {
  let size = min(size, ReplyBuffer.capacity)
  guard let start = unsafe ReplyBuffer.ofThisThread() else { return request.fail(Errno(ENOMEM)) }
  var used = 0
  for index in entries.indices.dropFirst(offset) {
    var status = stat()
    status.st_ino = numericCast(entries[index].inode.rawValue)
    status.st_mode = entries[index].kind.mode
    let space = unsafe start.advanced(by: used).assumingMemoryBound(to: CChar.self)
    let needed = unsafe fuse_add_direntry(
      request.pointer, space, size - used, entries[index].name, &status, index + 1)
    if needed > size - used { break }
    used += needed
  }
  unsafe request.succeed(UnsafeRawBufferPointer(start: start, count: used))
}

extension Caller {
  fileprivate init(_ request: fuse_req_t?) {
    let context = unsafe fuse_req_ctx(request)?.pointee
    self.init(user: context?.uid ?? 0, group: context?.gid ?? 0, process: context?.pid ?? 0)
  }
}

extension OpenFile {
  fileprivate init(_ inode: fuse_ino_t, _ info: UnsafeMutablePointer<fuse_file_info>?) {
    self.init(inode: InodeNumber(inode), handle: unsafe FileHandle(info?.pointee.fh ?? 0))
  }
}

extension WriteKind {
  /// The flags of a write are the file's, with those of the call.
  fileprivate init(_ info: fuse_file_info) {
    self = info.writepage == 1 ? .writeback : OpenFlags(rawValue: info.flags).isSynchronous ? .synchronous : .direct
  }
}

extension SeekTarget {
  /// `whence` is Linux's SEEK_DATA or SEEK_HOLE, which Glibc's module leaves out; the kernel sends no other.
  fileprivate init?(whence: Int32) {
    switch whence {
    case 3: self = .data
    case 4: self = .hole
    default: return nil
    }
  }
}

extension AttributeChange {
  /// `which` says by FUSE_SET_ATTR_ bits what of `status` is meant.
  fileprivate init(_ status: stat, which: Int32) {
    func asked(_ bit: Int32) -> Bool { which & bit != 0 }
    func time(_ time: timespec) -> FileTime { FileTime(nanoseconds: time.tv_sec &* 1_000_000_000 &+ time.tv_nsec) }
    self.init()
    if asked(FUSE_SET_ATTR_MODE) { permissions = status.st_mode & 0o7777 }
    if asked(FUSE_SET_ATTR_UID) { owner = status.st_uid }
    if asked(FUSE_SET_ATTR_GID) { group = status.st_gid }
    if asked(FUSE_SET_ATTR_SIZE) { size = status.st_size }
    if asked(FUSE_SET_ATTR_ATIME) { accessed = .at(time(status.st_atim)) }
    if asked(FUSE_SET_ATTR_MTIME) { modified = .at(time(status.st_mtim)) }
    if asked(FUSE_SET_ATTR_ATIME_NOW) { accessed = .now }
    if asked(FUSE_SET_ATTR_MTIME_NOW) { modified = .now }
    if asked(FUSE_SET_ATTR_CTIME) { changed = time(status.st_ctim) }
  }
}
