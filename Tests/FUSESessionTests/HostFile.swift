import Glibc

/// An open file of the host, with plain system calls: their errno is what the tests look at.
final class HostFile: Sendable {
  let descriptor: Int32

  init(_ path: String, _ flags: Int32 = O_RDWR) throws(HostError) {
    descriptor = unsafe Glibc.open(path, flags, 0o644)
    if descriptor < 0 { throw HostError() }
  }

  deinit { close(descriptor) }

  func read(_ count: Int, at offset: Int) throws(HostError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result = unsafe pread(descriptor, &bytes, count, offset)
    if result < 0 { throw HostError() }
    return Array(bytes.prefix(result))
  }

  @discardableResult
  func write(_ bytes: [UInt8], at offset: Int) throws(HostError) -> Int {
    let result = unsafe pwrite(descriptor, bytes, bytes.count, offset)
    if result < 0 { throw HostError() }
    return result
  }

  /// Whether the file can be read within `milliseconds`.
  func isReadable(within milliseconds: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&request, 1, milliseconds) == 1
  }
}

/// The error number of a system call that failed.
struct HostError: Error, Equatable {
  let code: Int32
  init() { code = errno }
  init(_ code: Int32) { self.code = code }

  /// Throws when a system call has returned -1.
  static func check(_ result: Int32) throws(HostError) {
    if result < 0 { throw HostError() }
  }
}
