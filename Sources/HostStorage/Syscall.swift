import CLinux
import Glibc

/// Why the kernel refused a call.
struct Errno: Error, Equatable {
  let code: Int32

  /// The file system or the device cannot do it at all, or not to this range; another way may work.
  var meansUnsupported: Bool { [EOPNOTSUPP, ENOSYS, EINVAL, ENODEV, ENOTTY].contains(code) }
}

/// One thin function per system call, and the only place that looks at `errno`. A call that a signal interrupted is
/// made again.
enum Syscall {
  private static func checked<Result: SignedInteger>(_ call: () -> Result) throws(Errno) -> Result {
    while true {
      let result = call()
      if result != -1 { return result }
      if errno != EINTR { throw Errno(code: errno) }
    }
  }

  /// A name as the kernel takes it; `name` has no terminating zero, and one inside it is refused.
  private static func terminated(_ name: [UInt8]) throws(Errno) -> [CChar] {
    if name.contains(0) { throw Errno(code: EINVAL) }
    return (name + [0]).map { CChar(bitPattern: $0) }
  }

  static func open(_ name: [UInt8], _ flags: Int32) throws(Errno) -> Int32 {
    let path = try terminated(name)
    return try checked { unsafe Glibc.open(path, flags | O_CLOEXEC) }
  }

  /// As `open`, for a file that may have to be made, with the permissions that the umask leaves of 0644.
  static func create(_ name: [UInt8], _ flags: Int32) throws(Errno) -> Int32 {
    let path = try terminated(name)
    return try checked { unsafe Glibc.open(path, flags | O_CREAT | O_CLOEXEC, 0o644) }
  }

  static func close(_ descriptor: Int32) {
    // The descriptor is gone whatever the answer is; what had to be durable was synced.
    _ = Glibc.close(descriptor)
  }

  static func duplicate(_ descriptor: Int32) throws(Errno) -> Int32 {
    try checked { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }
  }

  static func flags(_ descriptor: Int32) throws(Errno) -> Int32 {
    try checked { fcntl(descriptor, F_GETFL) }
  }

  static func status(_ descriptor: Int32) throws(Errno) -> stat {
    var result = stat()
    _ = try checked { unsafe fstat(descriptor, &result) }
    return result
  }

  /// As `status`, but never waits for a server: what the host knew last.
  static func knownStatus(_ descriptor: Int32) throws(Errno) -> stat {
    var result = stat()
    _ = try checked { unsafe flatcow_known_status(descriptor, &result) }
    return result
  }

  static func fileSystem(_ descriptor: Int32) throws(Errno) -> statvfs {
    var result = statvfs()
    _ = try checked { unsafe fstatvfs(descriptor, &result) }
    return result
  }

  static func readLink(_ name: [UInt8]) throws(Errno) -> [UInt8] {
    let path = try terminated(name)
    return try [UInt8](capacity: Int(PATH_MAX)) { (output: inout OutputSpan<UInt8>) throws(Errno) in
      try unsafe output.withUnsafeMutableBufferPointer { buffer, count throws(Errno) in
        guard let start = buffer.baseAddress else { return }
        count = try checked { unsafe Glibc.readlink(path, start, buffer.count) }
      }
    }
  }

  /// Up to `count` bytes into the free part of `output`; 0 at the end of the file. Not `waiting`: only what the host has in
  /// memory; EAGAIN where it would have to wait for a device, EOPNOTSUPP where the file system cannot tell.
  static func read(
    _ descriptor: Int32, _ count: Int, at offset: Int, into output: inout OutputSpan<UInt8>, waiting: Bool = true
  ) throws(Errno) -> Int {
    try unsafe output.withUnsafeMutableBufferPointer { buffer, initialized throws(Errno) in
      let room = unsafe UnsafeMutableBufferPointer(rebasing: buffer[initialized...])
      precondition(count <= room.count, "a read needs room for all of its bytes")
      let got = try checked {
        unsafe waiting
          ? pread(descriptor, room.baseAddress, count, offset)
          : flatcow_read_cached(descriptor, room.baseAddress, count, offset)
      }
      initialized += got
      return got
    }
  }

  static func write(_ descriptor: Int32, _ bytes: Span<UInt8>, at offset: Int) throws(Errno) -> Int {
    try unsafe bytes.withUnsafeBufferPointer { buffer throws(Errno) in
      try checked { unsafe pwrite(descriptor, buffer.baseAddress, buffer.count, offset) }
    }
  }

  static func syncData(_ descriptor: Int32) throws(Errno) {
    _ = try checked { fdatasync(descriptor) }
  }

  /// Writes what is dirty of the pages in `range` to the file system, and waits for its answer; nothing is made durable.
  static func writeBack(_ descriptor: Int32, _ range: HostRange) throws(Errno) {
    _ = try checked { flatcow_write_back(descriptor, range.start.bytes, range.count.bytes) }
  }

  static func truncate(_ descriptor: Int32, to size: Int) throws(Errno) {
    _ = try checked { ftruncate(descriptor, size) }
  }

  static func allocate(_ descriptor: Int32, mode: Int32, _ range: HostRange) throws(Errno) {
    _ = try checked { fallocate(descriptor, mode, range.start.bytes, range.count.bytes) }
  }

  static func seek(_ descriptor: Int32, to offset: Int, whence: Int32) throws(Errno) -> Int {
    try checked { lseek(descriptor, offset, whence) }
  }

  static func cloneRange(
    _ count: Int, from source: Int32, at sourceOffset: Int, to target: Int32, at offset: Int
  ) throws(Errno) {
    _ = try checked { flatcow_clone_range(target, offset, source, sourceOffset, count) }
  }

  /// Sets (or with F_UNLCK gives back) or tests a lock of the open file description on one byte. A test answers what
  /// it found in the way, F_UNLCK for nothing.
  static func lock(
    _ descriptor: Int32, command: Int32, type: Int32, byte: Int
  ) throws(Errno) -> Int32 {
    var lock = flock()
    lock.l_type = Int16(type)
    lock.l_whence = Int16(SEEK_SET)
    lock.l_start = byte
    lock.l_len = 1
    _ = try checked { unsafe fcntl(descriptor, command, &lock) }
    return Int32(lock.l_type)
  }

  /// The names in a directory; none where it cannot be read.
  static func names(inDirectory path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      // d_name is the entry's last member, NUL-terminated within the entry's length.
      let name = unsafe UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name) ?? 0)
      unsafe names.append(String(cString: name.assumingMemoryBound(to: CChar.self)))
    }
    return names
  }
}
