import Glibc
import HostStorage

/// `/etc/flatcow.conf`: lines of KEY=VALUE that set the defaults of the options; `#` begins a comment.
enum Configuration {
  static let path = "/etc/flatcow.conf"

  /// The options' defaults on this host.
  static func defaults() throws(CommandError) -> MountOptions {
    let text: String
    do {
      text = try TextFile.read(path)
    } catch {
      if error.errno == ENOENT { return MountOptions() }
      throw CommandError(error)
    }
    return try parse(text, path: path)
  }

  static func parse(_ text: String, path: String) throws(CommandError) -> MountOptions {
    var options = MountOptions()
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let content = trimmed(line.firstRange(of: /(^|\s)#/).map { line[..<$0.lowerBound] } ?? line)
      if content.isEmpty { continue }
      let parts = content.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(trimmed)
      let word = OptionWord(name: String(parts[0]), value: parts.count == 2 ? unquoted(parts[1]) : nil)
      try options.apply(word, from: "\(path):\(index + 1):")
    }
    return options
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
