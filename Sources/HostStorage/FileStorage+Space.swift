import CLinux
import Glibc
import Synchronization

extension FileStorage {
  /// fstatvfs(2). A device counts as wholly free.
  package func space() throws(StorageError) -> (free: ByteCount, total: ByteCount) {
    // The file system that its node lies on says nothing about a device.
    if isBlockDevice {
      let size = try status().size
      return (size, size)
    }
    return try failing("ask for free space on the file system of") { () throws(Errno) in
      let answer = try Syscall.fileSystem(descriptor)
      let unit = ByteCount(Int(answer.f_frsize))
      return (unit * Int(answer.f_bavail), unit * Int(answer.f_blocks))
    }
  }

  /// FALLOC_FL_ZERO_RANGE, else zeros are written.
  package func zero(_ range: HostRange) throws(StorageError) {
    try checkLength(before: "zero")
    try failing("zero", at: range.start) { () throws(Errno) in
      try allocate(FLATCOW_FALLOC_ZERO_RANGE, range) { () throws(Errno) in try writeZeros(range) }
    }
    if !range.isEmpty { noteEnd(range.end) }
  }

  /// FALLOC_FL_PUNCH_HOLE, else zeros are written.
  package func punch(_ range: HostRange) throws(StorageError) {
    try checkLength(before: "punch")
    try failing("punch", at: range.start) { () throws(Errno) in
      try allocate(FLATCOW_FALLOC_PUNCH_HOLE | FLATCOW_FALLOC_KEEP_SIZE, range) { () throws(Errno) in
        let whole = HostRange(at: HostOffset(0), count: ByteCount(try currentSize()))
        try writeZeros(range.clamped(to: whole))
      }
    }
  }

  /// fallocate(2), else a file that is too short gets a zero at the range's end.
  package func reserve(_ range: HostRange) throws(StorageError) {
    try checkLength(before: "reserve space in")
    try failing("reserve space in", at: range.start) { () throws(Errno) in
      try allocate(0, range) { () throws(Errno) in
        // Not by ftruncate(2): it would cut off what another thread has written further on since the look.
        let last = HostRange(at: range.end - 1, count: 1)
        if try currentSize() < range.end.bytes { try writeZeros(last) }
      }
    }
    if !range.isEmpty { noteEnd(range.end) }
  }

  /// ftruncate(2). On a device: ENOSPC for more than there is, and nothing to do for less.
  package func resize(to size: ByteCount) throws(StorageError) {
    try checkLength(before: "resize")
    knownEnd.min(size.bytes, ordering: .sequentiallyConsistent)
    try failing("resize") { () throws(Errno) in
      try setSize(size.bytes)
    }
    noteEnd(HostOffset(size.bytes))
  }

  /// SEEK_DATA and SEEK_HOLE, which a device does not have.
  package func extent(at offset: HostOffset, limit: ByteCount) throws(StorageError) -> StorageExtent {
    let lost = lostFrom.load(ordering: .relaxed)
    if offset.bytes >= lost { return StorageExtent(.pastEnd, count: limit) }
    let limit = min(limit, ByteCount(lost - offset.bytes))
    // The description's file position moves here, with every thread's look; nothing else uses it.
    return try failing("look for holes", at: offset) { () throws(Errno) in
      if isBlockDevice { return try rest(from: offset, limit: limit, kind: .data) }
      do throws(Errno) {
        let data = try Syscall.seek(descriptor, to: offset.bytes, whence: FLATCOW_SEEK_DATA)
        if data > offset.bytes { return StorageExtent(.hole, count: min(limit, ByteCount(data - offset.bytes))) }
      } catch let error where error.code == ENXIO {
        return try rest(from: offset, limit: limit, kind: .hole)
      }
      do throws(Errno) {
        let hole = try Syscall.seek(descriptor, to: offset.bytes, whence: FLATCOW_SEEK_HOLE)
        // Punched since the first look: one byte of data, and the next look sees the hole.
        return StorageExtent(.data, count: min(limit, ByteCount(max(1, hole - offset.bytes))))
      } catch let error where error.code == ENXIO {
        return StorageExtent(.pastEnd, count: limit)
      }
    }
  }

  /// What lies between `offset` and the end is of one kind; past the end, nothing does.
  private func rest(from offset: HostOffset, limit: ByteCount, kind: StorageExtent.Kind) throws(Errno) -> StorageExtent
  {
    let left = ByteCount(try currentSize() - offset.bytes)
    return left > 0 ? StorageExtent(kind, count: min(limit, left)) : StorageExtent(.pastEnd, count: limit)
  }

  func currentSize() throws(Errno) -> Int {
    if isBlockDevice { return try Syscall.seek(descriptor, to: 0, whence: SEEK_END) }
    return Int(try Syscall.status(descriptor).st_size)
  }

  /// A device has the size that it has: what fits in is already there.
  private func setSize(_ size: Int) throws(Errno) {
    if isBlockDevice {
      if size > (try currentSize()) { throw Errno(code: ENOSPC) }
    } else {
      try Syscall.truncate(descriptor, to: size)
    }
  }

  /// fallocate(2), or `fallback` where the file system or the device does not know how.
  private func allocate(_ mode: Int32, _ range: HostRange, else fallback: () throws(Errno) -> Void) throws(Errno) {
    if range.isEmpty { return }
    do throws(Errno) {
      try Syscall.allocate(descriptor, mode: mode, range)
    } catch {
      guard error.meansUnsupported else { throw error }
      try fallback()
    }
  }

  private func writeZeros(_ range: HostRange) throws(Errno) {
    let zeros = [UInt8](repeating: 0, count: min(range.count.bytes, 1 << 20))
    var offset = range.start
    while offset < range.end {
      let part = min(zeros.count, (range.end - offset).bytes)
      try writeAll(zeros.span.extracting(..<part), at: offset)
      offset += ByteCount(part)
    }
  }
}
