import TestSupport

/// What `qemu-img create -o` is told for one qcow2 image of a chain.
struct LayerGeometry: Hashable, Sendable {
  enum DataFile: String, CaseIterable { case none, plain, raw }
  enum Compression: String, CaseIterable { case none, zlib, zstd }

  static let clusterSizes = [512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 2 << 20]
  static let refcountWidths = [1, 2, 4, 8, 16, 32, 64]

  var clusterSize = 64 << 10
  var version = 3
  var refcountBits = 16
  var hasExtendedL2 = false
  var dataFile = DataFile.none
  var compression = Compression.none
  var preallocates = false
  var isLazy = false

  /// Draws each property by itself; `madePossible` makes them agree.
  init(using random: inout SeededRandom) {
    clusterSize = Self.clusterSizes.randomElement(using: &random) ?? clusterSize
    version = random.oneIn(4) ? 2 : 3
    refcountBits = Self.refcountWidths.randomElement(using: &random) ?? refcountBits
    hasExtendedL2 = random.oneIn(2)
    dataFile = DataFile.allCases.randomElement(using: &random) ?? .none
    compression = Compression.allCases.randomElement(using: &random) ?? .none
    preallocates = random.oneIn(3)
    isLazy = random.oneIn(3)
  }

  /// The nearest geometry that QEMU makes; what was asked for first in this list wins.
  func madePossible(hasBacking: Bool) -> LayerGeometry {
    var made = self
    if made.version == 2 {
      made.refcountBits = 16
      made.hasExtendedL2 = false
      made.dataFile = .none
      made.isLazy = false
      if made.compression == .zstd { made.compression = .zlib }
    }
    if hasBacking && made.dataFile == .raw { made.dataFile = .plain }
    if made.dataFile != .none { made.compression = .none }
    if made.clusterSize < 16 << 10 { made.hasExtendedL2 = false }
    if hasBacking && !made.hasExtendedL2 || made.compression != .none { made.preallocates = false }
    return made
  }

  /// The argument of `-o`.
  func options(dataFileName: String) -> String {
    var words = ["compat=\(version == 2 ? "0.10" : "1.1")", "cluster_size=\(clusterSize)"]
    if version == 3 { words.append("refcount_bits=\(refcountBits)") }
    if hasExtendedL2 { words.append("extended_l2=on") }
    if dataFile != .none { words.append("data_file=\(dataFileName)") }
    if dataFile == .raw { words.append("data_file_raw=on") }
    if compression == .zstd { words.append("compression_type=zstd") }
    if preallocates { words.append("preallocation=metadata") }
    if isLazy { words.append("lazy_refcounts=on") }
    return words.joined(separator: ",")
  }

  /// The choices, a word each.
  var words: [String] {
    [
      "cluster=\(clusterSize)", "v\(version)", "refcount=\(refcountBits)", hasExtendedL2 ? "extl2" : "plainl2",
      "data=\(dataFile)", "compress=\(compression)", preallocates ? "prealloc" : "sparse", isLazy ? "lazy" : "eager",
    ]
  }
}
