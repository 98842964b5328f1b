/// Just enough of JSON to print what the image verbs have to say.
indirect enum JSONText {
  case string(String)
  case number(Int)
  case bool(Bool)
  case list([JSONText])
  /// In the order in which the members are shown.
  case object([(name: String, value: JSONText)])

  /// Lists have an element a line, as `qemu-img map` prints them.
  var text: String {
    switch self {
    case .string(let text): Self.quoted(text)
    case .number(let number): String(number)
    case .bool(let flag): String(flag)
    case .list(let elements): "[" + elements.map(\.text).joined(separator: ",\n") + "]"
    case .object(let members):
      "{ " + members.map { "\(Self.quoted($0.name)): \($0.value.text)" }.joined(separator: ", ") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "\"") { quoted, scalar in
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case "\n": quoted += "\\n"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    } + "\""
  }
}
