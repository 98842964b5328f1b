import CLinux
import Glibc

/// The system's log.
package enum SystemLog {
  /// How loud: syslog(3)'s priorities.
  package enum Priority: Int32, Sendable {
    case error = 3
    case warning = 4
    case notice = 5
    case debug = 7
  }

  /// Hands one line to syslog, under the name "flatcow" and the process's number.
  package static func write(_ line: String, _ priority: Priority) {
    unsafe flatcow_syslog(priority.rawValue, line)
  }
}

/// Where a person is told what is not a result.
package enum StandardError {
  package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Writes `text` as it is; what the other end does not take is lost.
  package static func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
