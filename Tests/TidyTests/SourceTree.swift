// TidyTests: the rules of the house, run as tests.
//
// Each rule reads the text of the tree and names every place that breaks it, with what to do instead. Where a rule
// has exceptions they stand in a list beside it, each with its reason; nothing in the sources can switch a rule off.
// The rules look at single lines of code that `swift format` has laid out, so they need no parser.
import Foundation

/// The files of the repository that people write.
enum SourceTree {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  /// Paths from the root of everything that git does not ignore.
  static let paths: [String] = {
    let output = Pipe()
    let git = Process()
    git.executableURL = URL(filePath: "/usr/bin/env")
    git.arguments = ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"]
    git.standardOutput = output
    guard (try? git.run()) != nil, let listing = try? output.fileHandleForReading.readToEnd() else { return [] }
    git.waitUntilExit()
    return String(decoding: listing, as: UTF8.self).split(separator: "\n").map(String.init)
      .filter { FileManager.default.fileExists(atPath: "\(root)/\($0)") }
  }()

  static let swift = paths.filter { $0.hasSuffix(".swift") }.map(SwiftFile.init)
  static let sources = swift.filter { $0.path.hasPrefix("Sources/") }
  static let documents = paths.filter { $0.hasSuffix(".md") }

  static func text(_ path: String) -> String {
    (try? String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)) ?? ""
  }
}

/// One Swift file, as its author wrote it and as code alone.
struct SwiftFile {
  let path: String
  let lines: [String]
  /// The same lines without comments and without what stands between quotes.
  let code: [String]

  init(_ path: String) {
    self.path = path
    lines = SourceTree.text(path).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var inText = false
    code = lines.map { line in
      let wasText = inText
      if line.contains("\"\"\"") { inText.toggle() }
      return wasText || inText ? "" : Self.codeAlone(line)
    }
  }

  /// The target that the file belongs to: the folder below Sources or Tests.
  var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
  var name: String { String(path.split(separator: "/").last ?? "") }

  /// The modules that it imports.
  var imports: [(line: Int, module: String)] {
    code.enumerated().compactMap { index, line in
      let words = line.split(separator: " ")
      guard let word = words.firstIndex(of: "import"), word <= 2, words.count > word + 1 else { return nil }
      let dotted = words[word + 1] == "struct" || words[word + 1] == "func" ? words[word + 2] : words[word + 1]
      return (index + 1, String(dotted.split(separator: ".")[0]))
    }
  }

  /// "path:line" of each line of code in which `pattern` is found.
  func places(of pattern: some RegexComponent) -> [String] {
    code.enumerated().filter { $0.element.contains(pattern) }.map { "\(path):\($0.offset + 1)" }
  }

  /// Functions with a body: where they begin, and how many lines they have.
  var functions: [(line: Int, length: Int)] {
    code.indices.compactMap { first in
      // The quick look first: few lines pass it.
      guard ["func ", "init", "subscript"].contains(where: code[first].contains),
        code[first].contains(/^\s*([a-z@][\w()@:]* )*(func |init[?(<]|deinit |subscript[(<])/)
      else { return nil }
      let indentation = code[first].prefix { $0 == " " }
      guard let opening = headerEnd(from: first, indentation: indentation.count) else { return nil }
      if code[opening].contains(/\}$/) { return (first + 1, opening - first + 1) }
      let closing = code[opening...].firstIndex { $0 == indentation + "}" }
      return closing.map { (first + 1, $0 - first + 1) }
    }
  }

  /// The line on which the body of a function opens; nil for a requirement of a protocol.
  private func headerEnd(from first: Int, indentation: Int) -> Int? {
    for index in code.indices[first...] {
      let line = code[index]
      let continues = line.hasPrefix(String(repeating: " ", count: indentation) + ")")
      if index > first, line.prefix(while: { $0 == " " }).count <= indentation, !continues { return nil }
      if line.contains(/\{( [^{]*\})?$/) { return index }
    }
    return nil
  }

  private static func codeAlone(_ line: String) -> String {
    var code: [UInt8] = []
    var isQuoted = false
    var previous: UInt8 = 0
    for byte in line.utf8 {
      if byte == UInt8(ascii: "\""), !isQuoted || previous != UInt8(ascii: "\\") { isQuoted.toggle() }
      if !isQuoted, byte == UInt8(ascii: "/"), previous == byte {
        return String(decoding: code.dropLast(), as: UTF8.self)
      }
      if !isQuoted || byte == UInt8(ascii: "\"") { code.append(byte) }
      previous = byte
    }
    return String(decoding: code, as: UTF8.self)
  }
}
