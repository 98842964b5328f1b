/// Figures by scenario, as a table.
struct CrashTally: Sendable {
  private var rows: [(name: String, figures: CrashFigures)] = []
  private(set) var findings: [String] = []

  mutating func add(_ result: Result<CrashFigures, any Error>, of name: String) {
    switch result {
    case .failure(let error): findings.append("\(name): \(error)")
    case .success(let figures):
      findings += figures.findings
      if let row = rows.firstIndex(where: { $0.name == name }) {
        rows[row].figures += figures
      } else {
        rows.append((name, figures))
      }
    }
  }
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
