import HostStorage
import StreamJob

/// One line that shows how far a job is, and from several looks how fast it goes and how long it will take.
struct ProgressLine {
  private static let width = 24
  /// The rate is that of the last seconds, not of a whole job that may have been paused.
  private static let window = Duration.seconds(10)
  private var looks: [(time: Duration, remaining: ByteCount)] = []

  /// `time` runs from any fixed moment.
  mutating func text(for status: JobStatus, at time: Duration) -> String {
    looks.append((time, status.remaining))
    while looks.count > 2, time - looks[0].time > Self.window { looks.removeFirst() }
    var text = "\(Self.bar(status.fraction)) \(Self.percent(status.fraction))"
    switch status.state {
    case .running:
      text += "  \(SizeText.print(status.remaining)) to copy"
      if let rate { text += "  \(SizeText.print(rate))/s" }
      if let left = timeLeft(status.remaining) { text += "  \(Self.clock(left)) left" }
    default: text += "  \(status.headline)"
    }
    return text
  }

  /// Bytes a second; nil until two looks are apart in time and in bytes.
  private var rate: ByteCount? {
    guard let first = looks.first, let last = looks.last, last.remaining < first.remaining else { return nil }
    let seconds = (last.time - first.time) / .seconds(1)
    return seconds > 0 ? ByteCount(Int(Double((first.remaining - last.remaining).bytes) / seconds)) : nil
  }

  private func timeLeft(_ remaining: ByteCount) -> Int? {
    rate.flatMap { $0.bytes > 0 ? remaining.bytes / $0.bytes + 1 : nil }
  }

  private static func bar(_ fraction: Double) -> String {
    let full = Int(fraction * Double(width))
    return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full) + "]"
  }

  /// 100 only when all is done.
  private static func percent(_ fraction: Double) -> String {
    let text = String(Int(fraction * 100))
    return String(repeating: " ", count: max(0, 3 - text.count)) + text + " %"
  }

  private static func clock(_ seconds: Int) -> String {
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60)
    return hours > 0 ? "\(hours):\(two(minutes)):\(two(seconds % 60))" : "\(minutes):\(two(seconds % 60))"
  }
}
