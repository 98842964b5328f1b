import HostStorage

/// `word` as a person can paste it into a shell.
func shellWord(_ word: [UInt8]) -> String {
  let plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+:=,@%".utf8
  if !word.isEmpty, word.allSatisfy(plain.contains) { return String(decoding: word, as: UTF8.self) }
  let text = printable(word)
  if text.utf8.elementsEqual(word) { return "'" + text.replacing("'", with: "'\\''") + "'" }
  return "$'" + word.map(escaped).joined() + "'"
}

private func escaped(_ byte: UInt8) -> String {
  let isPlain = (0x20..<0x7F).contains(byte) && !"'\\".utf8.contains(byte)
  return isPlain ? String(UnicodeScalar(byte)) : (byte < 0x10 ? "\\x0" : "\\x") + String(byte, radix: 16)
}

/// `value` as it is written in `-o key=value`, where a comma ends it.
func optionValue(_ value: [UInt8]) -> [UInt8] {
  value.flatMap { ",\\".utf8.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
}
