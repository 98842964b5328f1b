import Foundation

/// What was measured of one contender: a figure a round.
struct Samples {
  var values: [Double] = []

  var isEmpty: Bool { values.isEmpty }

  var median: Double {
    let sorted = values.sorted()
    guard let middle = sorted.indices.dropFirst(sorted.count / 2).first else { return .nan }
    return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  var least: Double { values.min() ?? .nan }
  var most: Double { values.max() ?? .nan }
}

/// What the figures of a comparison count.
enum Unit {
  case operationsPerSecond, mebibytesPerSecond, seconds, milliseconds, microseconds, mebibytes, perWrite, times, percent
  case clusters

  /// Whether less is better.
  var isCost: Bool {
    switch self {
    case .operationsPerSecond, .mebibytesPerSecond, .percent: false
    case .seconds, .milliseconds, .microseconds, .mebibytes, .perWrite, .times, .clusters: true
    }
  }

  var name: String {
    switch self {
    case .operationsPerSecond: "/s"
    case .mebibytesPerSecond: " MiB/s"
    case .seconds: " s"
    case .milliseconds: " ms"
    case .microseconds: " µs"
    case .mebibytes: " MiB"
    case .perWrite: " a write"
    case .times: " ×"
    case .percent: " %"
    case .clusters: " clusters"
    }
  }

  func text(_ value: Double) -> String { Self.number(value) + name }

  /// Three digits that count, or all that stand before the point.
  static func number(_ value: Double) -> String {
    guard value.isFinite else { return "?" }
    return String(format: value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value)
  }
}
