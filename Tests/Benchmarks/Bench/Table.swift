import Foundation

/// The comparisons as lines of cells: flatcow beside one other at a time.
struct Table {
  static let heading = ["work", "flatcow", "beside", "its figure", "ratio", "goal", ""]

  private(set) var lines: [[String]] = []
  /// Whether another build of the storage daemon is measured, which has a second goal to fall back on.
  var hasOtherStorageDaemon = false

  init(_ comparisons: [Comparison], hasOtherStorageDaemon: Bool = false) {
    self.hasOtherStorageDaemon = hasOtherStorageDaemon
    for comparison in comparisons { add(comparison) }
  }

  private mutating func add(_ comparison: Comparison) {
    guard let own = comparison[.flatcow] else { return }
    var first = [comparison.title, text(own, comparison.unit)]
    var bounds: [[String]] = []
    for case .bound(let limit) in comparison.goals {
      let isMet = comparison.unit.isCost ? own.median <= limit : own.median >= limit
      let goal = (comparison.unit.isCost ? "≤ " : "≥ ") + comparison.unit.text(limit)
      bounds.append(["", "", "", goal, Self.verdict(isMet)])
    }
    let others = comparison.series.filter { $0.contender != .flatcow }
    let rows = others.map { row(of: $0.contender, $0.samples, in: comparison) }
    for row in bounds + rows {
      lines.append(first + row)
      first = ["", ""]
    }
  }

  private func row(of other: Contender, _ samples: Samples, in comparison: Comparison) -> [String] {
    let ratio = comparison.ratio(to: other) ?? .nan
    var goal = ""
    var verdict = ""
    for case .times(let wanted, other) in comparison.goals {
      goal = "≥ \(Unit.number(wanted))"
      let isNearLimit = (comparison.ratio(to: Contender(.bareServer)) ?? 0) >= 0.85
      let isExcused = hasOtherStorageDaemon && other == Contender(.storageDaemon) && isNearLimit
      verdict = Self.verdict(ratio >= wanted || isExcused)
    }
    return [other.name, text(samples, comparison.unit), Unit.number(ratio), goal, verdict]
  }

  private func text(_ samples: Samples, _ unit: Unit) -> String {
    let spread = samples.values.count > 1 ? " (\(Unit.number(samples.least))–\(Unit.number(samples.most)))" : ""
    return unit.text(samples.median) + spread
  }

  private static func verdict(_ isMet: Bool) -> String { isMet ? "met" : "missed" }

  /// For a terminal, in columns.
  var plain: String {
    let all = [Self.heading] + lines
    let widths = Self.heading.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { line in
      let cells = zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
      return cells.joined(separator: "  ").replacing(#/ +$/#, with: "")
    }.joined(separator: "\n")
  }

  var markdown: String {
    let all = [Self.heading, Self.heading.map { _ in "---" }] + lines
    return all.map { "| \($0.joined(separator: " | ")) |" }.joined(separator: "\n")
  }
}
