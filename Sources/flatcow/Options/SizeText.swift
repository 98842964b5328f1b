import HostStorage

/// Sizes and rates as people write them: a whole number and perhaps K, M, G or T for powers of 1024.
enum SizeText {
  private static let suffixes = "KMGT"

  /// nil where `text` is no size, or one that does not fit.
  static func parse(_ text: some StringProtocol) -> ByteCount? {
    guard let last = text.last else { return nil }
    let power = suffixes.firstIndex(of: Character(last.uppercased())).map { suffixes.distance(to: $0) + 1 } ?? 0
    let digits = power == 0 ? text[...] : text.dropLast()
    guard digits.allSatisfy(\.isASCIIDigit), let number = Int(digits) else { return nil }
    let (bytes, overflows) = number.multipliedReportingOverflow(by: 1 << (10 * power))
    return overflows ? nil : ByteCount(bytes)
  }

  /// "1.5 GiB": three digits or so, for people.
  static func print(_ size: ByteCount) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var power = 0
    while power < units.count - 1, size.bytes >> (10 * power) >= 1000 { power += 1 }
    if power == 0 { return "\(size.bytes) B" }
    let tenths = Int((Double(size.bytes) / Double(1 << (10 * power)) * 10).rounded())
    return tenths < 100 ? "\(tenths / 10).\(tenths % 10) \(units[power])" : "\((tenths + 5) / 10) \(units[power])"
  }
}

extension String {
  fileprivate func distance(to index: Index) -> Int { distance(from: startIndex, to: index) }
}

extension Character {
  fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}
