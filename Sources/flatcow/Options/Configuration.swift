import Glibc
import HostStorage
import StreamJob

/// `/etc/flatcow.conf`: lines of KEY=VALUE that set the defaults of the options; `#` begins a comment.
enum Configuration {
  static let path = "/etc/flatcow.conf"

  /// The options' defaults on this host.
  static func defaults() throws(CommandError) -> MountOptions {
    try options(in: text(), path: path)
  }

  /// The rate that the file says now; nil where it says none.
  static func speed() throws(CommandError) -> ByteCount? {
    let options = try words(in: text()).filter { $0.word.name == "speed" }
    guard let last = options.last else { return nil }
    var mount = MountOptions()
    try mount.apply(last.word, from: "\(path):\(last.line):")
    return mount.job.speed
  }

  static func options(in text: String, path: String) throws(CommandError) -> MountOptions {
    var options = MountOptions()
    for (word, line) in words(in: text) { try options.apply(word, from: "\(path):\(line):") }
    return options
  }

  /// A host without the file has no defaults of its own.
  private static func text() throws(CommandError) -> String {
    do {
      return try TextFile.read(path)
    } catch {
      if error.errno == ENOENT { return "" }
      throw CommandError(error)
    }
  }

  private static func words(in text: String) -> [(word: OptionWord, line: Int)] {
    text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
      let content = trimmed(line.firstRange(of: /(^|\s)#/).map { line[..<$0.lowerBound] } ?? line)
      if content.isEmpty { return nil }
      let parts = content.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(trimmed)
      let value = parts.count == 2 ? unquoted(parts[1]) : nil
      return (OptionWord(name: String(parts[0]), value: value), index + 1)
    }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    let start = text.drop { $0.isWhitespace }
    return start[..<(start.lastIndex { !$0.isWhitespace }.map(start.index(after:)) ?? start.startIndex)]
  }

  private static func unquoted(_ text: Substring) -> String {
    guard text.count >= 2, let first = text.first, first == "\"" || first == "'", text.last == first else {
      return String(text)
    }
    return String(text.dropFirst().dropLast())
  }
}
