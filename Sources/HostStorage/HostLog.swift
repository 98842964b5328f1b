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

/// Where a person is told something: results on one, all else on the other.
package enum StandardStream: Int32, Sendable {
  case output = 1
  case error = 2

  package var isTerminal: Bool { isatty(rawValue) == 1 }

  /// Writes `text` as it is, past every buffer; what the other end does not take is lost.
  package func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(rawValue, $0.baseAddress, $0.count) }
  }
}
