/// The metrics of several mounts as one page of Prometheus' text format: each sample gets the label `mountpoint`, and
/// the samples of one metric stand together, as the format asks.
struct Metrics {
  private struct Family {
    /// HELP and TYPE.
    var comments: [Substring] = []
    var samples: [String] = []
  }

  private var order: [Substring] = []
  private var families: [Substring: Family] = [:]

  init() {
    add("# HELP flatcow_up Whether the mount answers.\n# TYPE flatcow_up gauge\n", mountpoint: "")
  }

  /// Takes one mount's page over; nil for a mount that does not answer.
  mutating func add(page: String?, mountpoint: String) {
    let body = page?.split(separator: "\n").filter { Self.name(of: $0) != "flatcow_up" }.joined(separator: "\n")
    add("flatcow_up \(page == nil ? 0 : 1)\n\(body ?? "")", mountpoint: mountpoint)
  }

  var text: String {
    order.map { name in
      let family = families[name] ?? Family()
      return (family.comments.map(String.init) + family.samples).joined(separator: "\n") + "\n"
    }.joined()
  }

  private mutating func add(_ page: String, mountpoint: String) {
    for line in page.split(separator: "\n") {
      guard let name = Self.name(of: line) else { continue }
      if families[name] == nil { order.append(name) }
      var family = families[name] ?? Family()
      if !line.hasPrefix("#") {
        family.samples.append(Self.labelled(line, name, mountpoint))
      } else if !family.comments.contains(line) {
        family.comments.append(line)
      }
      families[name] = family
    }
  }

  /// The metric that a line is about.
  private static func name(of line: Substring) -> Substring? {
    if line.hasPrefix("#") {
      let words = line.split(separator: " ", maxSplits: 3)
      return words.count > 2 && ["HELP", "TYPE"].contains(words[1]) ? words[2] : nil
    }
    return line.prefix { $0 != " " && $0 != "{" }
  }

  private static func labelled(_ line: Substring, _ name: Substring, _ mountpoint: String) -> String {
    let escaped = mountpoint.reduce(into: "") { text, character in
      switch character {
      case "\\", "\"": text += "\\\(character)"
      case "\n": text += "\\n"
      default: text.append(character)
      }
    }
    let rest = line[name.endIndex...]
    let more = rest.hasPrefix("{") ? ",\(rest.dropFirst())" : "}\(rest)"
    return "\(name){mountpoint=\"\(escaped)\"\(more)"
  }
}
