import Glibc

/// Small text files of the kernel's, of the host's configuration, or of a mounted tree: read whole and written by one
/// write(2), whose answer is the outcome of what the text asks for.
package enum TextFile {
  /// All of the file's text; bytes that are no UTF-8 become U+FFFD.
  package static func read(_ path: String) throws(StorageError) -> String {
    try WatchedText(path).read()
  }

  /// Writes `text` into a file that exists, by one write(2). EINTR, when a signal came before the file had taken it,
  /// is an error like any other. With `waiting` false a file that would keep the writer waiting (O_NONBLOCK) does not.
  package static func write(_ text: String, to path: String, waiting: Bool = true) throws(StorageError) {
    try write(text, path, O_WRONLY | (waiting ? 0 : O_NONBLOCK))
  }

  /// Makes or replaces a file with `text` in it.
  package static func create(_ path: String, _ text: String) throws(StorageError) {
    try write(text, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
  }

  /// Takes a file's name away; one that is gone already does no harm.
  package static func remove(_ path: String) { _ = unsafe unlink(path) }

  private static func write(_ text: String, _ path: String, _ flags: Int32) throws(StorageError) {
    let descriptor = OwnedDescriptor(unsafe open(path, flags | O_CLOEXEC, 0o644))
    if descriptor.number < 0 { throw StorageError(errno: errno, operation: "open", path: path) }
    let bytes = Array(text.utf8)
    let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor.number, $0.baseAddress, $0.count) }
    if written != bytes.count {
      throw StorageError(errno: written < 0 ? errno : EIO, operation: "write", path: path)
    }
  }
}

/// A text file that is looked at again and again, and tells when it changed.
package struct WatchedText: ~Copyable {
  /// Nothing that is read this way is larger; a file that is, is cut there.
  private static let limit = 1 << 20
  private let path: String
  private let descriptor: OwnedDescriptor

  package init(_ path: String) throws(StorageError) {
    self.path = path
    do throws(Errno) {
      descriptor = OwnedDescriptor(try Syscall.open(Array(path.utf8), O_RDONLY))
    } catch {
      throw StorageError(errno: error.code, operation: "open", path: path)
    }
  }

  /// All of its text now.
  package func read() throws(StorageError) -> String {
    do throws(Errno) {
      let bytes = try [UInt8](capacity: Self.limit) { (output: inout OutputSpan<UInt8>) throws(Errno) in
        while try Syscall.read(descriptor.number, output.freeCapacity, at: output.count, into: &output) > 0 {}
      }
      return String(decoding: bytes, as: UTF8.self)
    } catch {
      throw StorageError(errno: error.code, operation: "read", path: path)
    }
  }

  /// Sleeps until poll(2) reports a change (POLLPRI, the habit of sysfs), a signal comes, or `milliseconds` have
  /// passed. Says nothing of what it was: read again.
  package func waitForChange(milliseconds: Int32) {
    var events = pollfd(fd: descriptor.number, events: Int16(POLLPRI), revents: 0)
    _ = unsafe poll(&events, 1, milliseconds)
  }
}
