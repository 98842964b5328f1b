import HostStorage
import Logging

/// swift-log's messages for the system's log, where a daemon without a terminal can say them.
struct SyslogHandler: LogHandler {
  var logLevel = Logger.Level.info
  var metadata = Logger.Metadata()

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let priority: SystemLog.Priority =
      switch event.level {
      case .trace, .debug: .debug
      case .info, .notice: .notice
      case .warning: .warning
      case .error, .critical: .error
      }
    let context = (metadata.map { "\($0.key)=\($0.value)" }).sorted().joined(separator: " ")
    SystemLog.write(context.isEmpty ? "\(event.message)" : "\(event.message) (\(context))", priority)
  }
}
