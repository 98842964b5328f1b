/// Figures by scenario, as a table.
struct CrashTally: Sendable {
  private var rows: [(name: String, figures: CrashFigures)] = []
  /// Parts that could not be carried out.
  private(set) var failures: [String] = []

  mutating func add(_ result: Result<CrashFigures, any Error>, of name: String) {
    switch result {
    case .failure(let error): failures.append("\(name): \(error)")
    case .success(let figures):
      if let row = rows.firstIndex(where: { $0.name == name }) {
        rows[row].figures += figures
      } else {
        rows.append((name, figures))
      }
    }
  }
}

extension CrashTally {
  /// Of every scenario the first finding of each kind.
  var findings: [String] { rows.flatMap { $0.figures.findings.values } }
}

extension CrashTally: CustomStringConvertible {
  var description: String {
    var all = CrashFigures()
    for row in rows { all += row.figures }
    let heads = ["Scenario", "States", "Distinct", "By QEMU", "Points"] + CrashFault.allCases.map(\.rawValue)
    return ([heads, heads.map { _ in "---" }] + rows.map { $0.figures.cells($0.name) } + [all.cells("all")])
      .map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}

extension CrashFigures {
  fileprivate func cells(_ name: String) -> [String] {
    [name] + [states, hashes.count, judgedByQemu, streamPoints].map(String.init)
      + CrashFault.allCases.map { String(faults[$0] ?? 0) }
  }
}
