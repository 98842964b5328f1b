import HostStorage

extension [UInt8] {
  init(copying bytes: Span<UInt8>) {
    self.init(capacity: bytes.count) { $0.append(copying: bytes) }
  }
}

extension Span<UInt8> {
  /// A copy, less one newline at the end.
  var withoutNewline: [UInt8] {
    let hasNewline = !isEmpty && self[count - 1] == UInt8(ascii: "\n")
    return [UInt8](copying: hasNewline ? extracting(droppingLast: 1) : self)
  }
}
