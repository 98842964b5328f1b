import Foundation

/// Why a measurement cannot be made: one sentence.
struct BenchError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Programs of the host, found by PATH.
enum Program {
  /// Runs it to its end, and returns what it wrote to stdout.
  @discardableResult
  static func run(_ arguments: [String]) throws -> String {
    let (output, errors) = (Pipe(), Pipe())
    let process = try ChildProcess(
      arguments, output: output.fileHandleForWriting, errors: errors.fileHandleForWriting)
    try output.fileHandleForWriting.close()
    try errors.fileHandleForWriting.close()
    let words = text(try output.fileHandleForReading.readToEnd())
    let complaint = text(try errors.fileHandleForReading.readToEnd())
    let status = process.wait()
    guard status == 0 else { throw BenchError("\(arguments.joined(separator: " ")): \(complaint) (\(status))") }
    return words
  }

  @discardableResult
  static func run(_ arguments: String...) throws -> String { try run(arguments) }

  /// Runs a line of shell; each of `arguments` is one of its $1, $2 …
  @discardableResult
  static func shell(_ line: String, _ arguments: String...) throws -> String {
    try run(["sh", "-euc", line, "sh"] + arguments)
  }

  /// Whether PATH leads to it, or it is the path of a program.
  static func exists(_ name: String) -> Bool {
    (try? shell(#"command -v "$1""#, name)) != nil
  }

  private static func text(_ bytes: Data?) -> String {
    String(decoding: bytes ?? Data(), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
