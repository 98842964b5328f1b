/// A file name as a person may see it in a message, a log or a list, whatever bytes an image holds: what is not
/// printable text (control characters, line ends, marks that turn the writing direction, bytes that are no UTF-8)
/// is shown as `\xNN`.
package func printable(_ name: [UInt8]) -> String {
  guard let text = String(validating: name, as: UTF8.self) else {
    return name.reduce(into: "") { text, byte in
      text += (0x20..<0x7F).contains(byte) ? String(UnicodeScalar(byte)) : escaped(byte)
    }
  }
  return text.unicodeScalars.reduce(into: "") { text, scalar in
    if isHarmless(scalar) {
      text.unicodeScalars.append(scalar)
    } else {
      for byte in String(scalar).utf8 { text += escaped(byte) }
    }
  }
}

private func isHarmless(_ scalar: UnicodeScalar) -> Bool {
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: false
  default: true
  }
}

private func escaped(_ byte: UInt8) -> String {
  (byte < 0x10 ? "\\x0" : "\\x") + String(byte, radix: 16)
}
