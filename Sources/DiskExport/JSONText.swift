import HostStorage

/// A JSON value to be written.
package enum JSONText {
  case null
  case bool(Bool)
  case number(Int)
  case text(String)
  case list([JSONText])
  /// Members in the order in which they are written.
  case object([(name: String, value: JSONText)])

  /// Bytes of any kind; those that are no UTF-8 are shown as `printable` shows them.
  package static func bytes(_ bytes: [UInt8]) -> JSONText {
    .text(String(validating: bytes, as: UTF8.self) ?? printable(bytes))
  }

  /// The value on one line.
  package var written: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let value): String(value)
    case .text(let value): Self.quoted(value)
    case .list(let values): "[" + values.map(\.written).joined(separator: ", ") + "]"
    case .object(let members):
      "{" + members.map { "\(Self.quoted($0.name)): \($0.value.written)" }.joined(separator: ", ") + "}"
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
