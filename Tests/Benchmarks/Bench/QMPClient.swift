import Foundation

/// A storage daemon whose monitor is on its standard input and output.
final class QMPClient {
  let process: ChildProcess

  private let input = Pipe()
  private let output = Pipe()
  private var unread = ""

  /// Starts it by `arguments` and greets it.
  init(_ arguments: [String], log: FileHandle) throws {
    process = try ChildProcess(
      arguments + ["--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"],
      input: input.fileHandleForReading, output: output.fileHandleForWriting, errors: log)
    try input.fileHandleForReading.close()
    try output.fileHandleForWriting.close()
    try ask("qmp_capabilities")
  }

  /// Sends a command, and returns the line that answers it.
  @discardableResult
  func ask(_ command: String, _ arguments: String = "{}") throws -> String {
    let line = #"{"execute":"\#(command)","arguments":\#(arguments)}"# + "\n"
    try input.fileHandleForWriting.write(contentsOf: Data(line.utf8))
    let answer = try nextLine { $0.contains(#""return":"#) || $0.contains(#""error":"#) }
    if answer.contains(#""error":"#) { throw BenchError("\(command): \(answer)") }
    return answer
  }

  /// Waits for an event, and returns its line.
  @discardableResult
  func awaitEvent(_ name: String) throws -> String {
    try nextLine { $0.contains(#""event": "\#(name)""#) }
  }

  /// The next line that is meant; others are passed over.
  private func nextLine(where isMeant: (Substring) -> Bool) throws -> String {
    while true {
      while let end = unread.firstIndex(where: \.isNewline) {
        let line = unread[..<end]
        unread = String(unread[unread.index(after: end)...])
        if isMeant(line) { return String(line) }
      }
      let bytes = output.fileHandleForReading.availableData
      if bytes.isEmpty { throw BenchError("the storage daemon has left its monitor") }
      unread += String(decoding: bytes, as: UTF8.self)
    }
  }
}
