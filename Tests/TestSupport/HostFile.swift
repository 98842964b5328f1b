import Glibc

/// An open file of the host, with plain system calls: their errno is what the tests look at.
package final class HostFile: Sendable {
  package let descriptor: Int32

  package init(_ path: String, _ flags: Int32 = O_RDWR) throws(HostError) {
    descriptor = unsafe Glibc.open(path, flags, 0o644)
    if descriptor < 0 { throw HostError() }
  }

  deinit { close(descriptor) }

  /// Bytes from `offset` on; fewer where the file ends.
  package func read(_ count: Int, at offset: Int) throws(HostError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result = unsafe pread(descriptor, &bytes, count, offset)
    if result < 0 { throw HostError() }
    return Array(bytes.prefix(result))
  }

  /// Writes by one call, and says how much it took.
  @discardableResult
  package func write(_ bytes: [UInt8], at offset: Int) throws(HostError) -> Int {
    let result = unsafe pwrite(descriptor, bytes, bytes.count, offset)
    if result < 0 { throw HostError() }
    return result
  }

  /// Whether the file can be read within `milliseconds`.
  package func isReadable(within milliseconds: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&request, 1, milliseconds) == 1
  }
}

/// The error number of a system call that failed.
package struct HostError: Error, Equatable {
  package let code: Int32
  package init() { code = errno }
  package init(_ code: Int32) { self.code = code }

  /// Throws when a system call has returned -1.
  package static func check(_ result: Int32) throws(HostError) {
    if result < 0 { throw HostError() }
  }
}
