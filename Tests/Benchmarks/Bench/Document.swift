import Foundation

/// The page that keeps what was measured: a part of it, between two marks, is written anew.
struct Document {
  static let begin = "<!-- What follows was written by `make bench`. -->"
  static let end = "<!-- End of what was measured. -->"

  let file: URL

  func write(_ table: Table, on machine: Machine, rounds: Int, notes: [String]) throws {
    let text = try String(contentsOf: file, encoding: .utf8)
    guard let begin = text.range(of: Self.begin), let end = text.range(of: Self.end) else {
      throw BenchError("\(file.path) lacks the two marks")
    }
    let date = Date.now.formatted(.iso8601.year().month().day())
    let facts = machine.lines.map { "| \($0.name) | \($0.value) |" }
    let measured =
      ["", "", "On \(date), the medians of \(rounds) rounds:", "", table.markdown, ""] + notes + [""]
      + ["| the machine | |", "| --- | --- |"] + facts + ["", ""]
    let whole = text[..<begin.upperBound] + measured.joined(separator: "\n") + text[end.lowerBound...]
    try String(whole).write(to: file, atomically: true, encoding: .utf8)
  }
}
