import HostStorage

/// The feature bits of a version 3 header (specification, "Header", bytes 72 to 95).
enum FeatureBits {
  enum Incompatible {
    static let dirty: UInt64 = 1 << 0
    static let corrupt: UInt64 = 1 << 1
    static let dataFile: UInt64 = 1 << 2
    static let compressionType: UInt64 = 1 << 3
    static let extendedL2: UInt64 = 1 << 4
    static let known = dirty | corrupt | dataFile | compressionType | extendedL2
  }
  enum Autoclear {
    static let bitmaps: UInt64 = 1 << 0
    static let rawDataFile: UInt64 = 1 << 1
    static let known = bitmaps | rawDataFile
  }
}

/// A name that a feature name table gives to a feature bit.
struct FeatureName {
  /// 0 incompatible, 1 compatible, 2 autoclear.
  let kind: UInt8
  let bit: UInt8
  let name: String

  /// The 48-byte entries of the extension's data.
  static func table(in data: [UInt8]) -> [FeatureName] {
    stride(from: 0, to: data.count - data.count % 48, by: 48).map { start in
      let name = data[(start + 2)..<(start + 48)].prefix { $0 != 0 }
      return FeatureName(kind: data[start], bit: data[start + 1], name: printable(Array(name)))
    }
  }
}
