/// What a `json:` name can hold. Strings are bytes, as file names are; numbers and words are kept as they stand, for
/// no option that takes one is supported.
enum JSONValue: Equatable {
  case string([UInt8])
  case object([(key: [UInt8], value: JSONValue)])
  case array([JSONValue])
  case literal([UInt8])

  static func == (left: JSONValue, right: JSONValue) -> Bool {
    switch (left, right) {
    case (.string(let left), .string(let right)), (.literal(let left), .literal(let right)): left == right
    case (.object(let left), .object(let right)): left.elementsEqual(right) { $0.key == $1.key && $0.value == $1.value }
    case (.array(let left), .array(let right)): left == right
    default: false
    }
  }
}

/// Reads one JSON value, as QEMU does: strings stand in double or in single quotes.
///
/// A name in a header has at most 1023 bytes, so only the nesting needs a bound.
struct JSONParser {
  typealias Fault = ImageName.Fault

  /// Two levels are needed; this many can't exhaust the stack.
  private static let depthLimit = 16

  private let text: [UInt8]
  private var position = 0

  static func parse(_ text: [UInt8]) throws(Fault) -> JSONValue {
    var parser = JSONParser(text: text)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.position == text.count else { throw Fault(reason: "something follows the JSON value") }
    return value
  }

  private init(text: [UInt8]) { self.text = text }

  private var next: UInt8? { position < text.count ? text[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, " \t\r\n".utf8.contains(byte) { position += 1 }
  }

  private mutating func take(_ character: Character) -> Bool {
    skipSpace()
    guard let next, next == character.asciiValue else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Character) throws(Fault) {
    guard take(character) else { throw Fault(reason: "its JSON lacks a \"\(character)\" at byte \(position)") }
  }

  private mutating func value(depth: Int) throws(Fault) -> JSONValue {
    guard depth < Self.depthLimit else { throw Fault(reason: "its JSON is nested too deeply") }
    if take("{") { return .object(try members(depth: depth + 1)) }
    if take("[") { return .array(try elements(depth: depth + 1)) }
    if let string = try string() { return .string(string) }
    let word = text[position...].prefix { !" \t\r\n,]}:".utf8.contains($0) }
    guard !word.isEmpty else { throw Fault(reason: "its JSON lacks a value at byte \(position)") }
    position += word.count
    return .literal(Array(word))
  }

  private mutating func members(depth: Int) throws(Fault) -> [(key: [UInt8], value: JSONValue)] {
    var members: [(key: [UInt8], value: JSONValue)] = []
    if take("}") { return members }
    repeat {
      guard let key = try string() else { throw Fault(reason: "its JSON lacks a key at byte \(position)") }
      try expect(":")
      members.append((key, try value(depth: depth)))
    } while take(",")
    try expect("}")
    return members
  }

  private mutating func elements(depth: Int) throws(Fault) -> [JSONValue] {
    var elements: [JSONValue] = []
    if take("]") { return elements }
    repeat { elements.append(try value(depth: depth)) } while take(",")
    try expect("]")
    return elements
  }

  private mutating func string() throws(Fault) -> [UInt8]? {
    skipSpace()
    guard let quote = next, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { return nil }
    position += 1
    var bytes: [UInt8] = []
    while let byte = next {
      position += 1
      if byte == quote { return bytes }
      bytes += byte == UInt8(ascii: "\\") ? Array(String(try escape()).utf8) : [byte]
    }
    throw Fault(reason: "a string in its JSON does not end")
  }

  private mutating func escape() throws(Fault) -> UnicodeScalar {
    guard let byte = next else { throw Fault(reason: "a string in its JSON does not end") }
    position += 1
    switch UnicodeScalar(byte) {
    case "\"", "'", "\\", "/": return UnicodeScalar(byte)
    case "b": return "\u{8}"
    case "f": return "\u{C}"
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "u": return try codePoint()
    default: throw Fault(reason: "its JSON has an unknown escape at byte \(position)")
    }
  }

  /// After `\u`: four hexadecimal digits, and four more where they are the first half of a surrogate pair.
  private mutating func codePoint() throws(Fault) -> UnicodeScalar {
    let first = try codeUnit()
    var units = [first]
    if UTF16.isLeadSurrogate(first), text[position...].starts(with: "\\u".utf8) {
      position += 2
      units.append(try codeUnit())
    }
    guard let scalar = String(validating: units, as: UTF16.self)?.unicodeScalars.first else {
      throw Fault(reason: "its JSON has half a surrogate pair at byte \(position)")
    }
    return scalar
  }

  private mutating func codeUnit() throws(Fault) -> UInt16 {
    let digits = text[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ UnicodeScalar($0).properties.isASCIIHexDigit }),
      let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw Fault(reason: "its JSON has an unknown escape at byte \(position)") }
    position += 4
    return unit
  }
}
