import CFUSE
import Glibc
import Synchronization

/// What libfuse has to say: it reports the reason of a failure only as a line of its log, for the whole process.
enum LibraryLog {
  private static let last = Mutex<String?>(nil)

  /// Has libfuse's messages kept here instead of printed, from now on.
  static func start() {
    last.withLock { $0 = nil }
    unsafe fuse_set_log_func { _, format, arguments in
      guard let format = unsafe format, let arguments = unsafe arguments else { return }
      // Longer than any message of libfuse with a path in it; the rest would be cut off.
      let line = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096 + 512) { buffer -> String in
        guard let start = buffer.baseAddress else { return "" }
        unsafe vsnprintf(start, buffer.count, format, arguments)
        return unsafe String(cString: start)
      }
      LibraryLog.last.withLock { $0 = line }
    }
  }

  /// The last message, without libfuse's own prefix and the end of line; nil when there is none.
  static func takeLast() -> String? {
    guard var line = last.withLock({ $0.take() }) else { return nil }
    if line.hasPrefix("fuse: ") { line.removeFirst("fuse: ".count) }
    while line.last?.isWhitespace == true { line.removeLast() }
    return line.isEmpty ? nil : line
  }
}
