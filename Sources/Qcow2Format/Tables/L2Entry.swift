import HostStorage
import ImageFormat

/// An L2 entry decoded (specification, "L2 table entry" and "Extended L2 Entries").
struct L2Entry: Equatable {
  enum Bits {
    static let copied: UInt64 = 1 << 63
    static let compressed: UInt64 = 1 << 62
    static let zero: UInt64 = 1
    static let offset: UInt64 = 0x00FF_FFFF_FFFF_FE00
    static let reservedInL1: UInt64 = 0x7F00_0000_0000_01FF
    static let allocatedSubclusters: UInt64 = 0x0000_0000_FFFF_FFFF
  }

  /// The descriptor.
  var word: UInt64
  /// With extended entries: bit n set = subcluster n allocated, bit 32+n = it reads as zeros. Otherwise 0.
  var bitmap: UInt64

  var isCompressed: Bool { word & Bits.compressed != 0 }
  /// The host cluster is used once, and only here.
  var isCopied: Bool { word & Bits.copied != 0 }
  var hostOffset: HostOffset { HostOffset(Int(word & Bits.offset)) }
  var allocated: UInt32 { UInt32(truncatingIfNeeded: bitmap) }
  var zeroed: UInt32 { UInt32(truncatingIfNeeded: bitmap >> 32) }

  static let unallocated = L2Entry(word: 0, bitmap: 0)

  /// A cluster used once at `offset`.
  static func data(at offset: HostOffset, bitmap: UInt64 = 0) -> L2Entry {
    L2Entry(word: UInt64(offset.bytes) | Bits.copied, bitmap: bitmap)
  }
}

/// The rules by which this image's entries are read; one value an image.
struct EntryRules: Sendable {
  let clusterBits: Int
  let hasExtendedL2: Bool
  let hasZeroFlag: Bool
  let usesDataFile: Bool

  init(_ header: Qcow2Header) {
    clusterBits = header.clusterBits
    hasExtendedL2 = header.hasExtendedL2
    hasZeroFlag = header.hasZeroFlag
    usesDataFile = header.usesDataFile
  }

  /// Whether the entry has a host cluster of its own, kept or used.
  func hasHostCluster(_ entry: L2Entry) -> Bool {
    !entry.isCompressed && (entry.word & L2Entry.Bits.offset != 0 || (usesDataFile && entry.isCopied))
  }

  /// Where a compressed cluster's stream is. The lower x bits are its offset, those above the number of further sectors,
  /// x = 62 - (cluster bits - 8).
  func compressed(_ entry: L2Entry) -> CompressedCluster {
    let shift = UInt64(62 - (clusterBits - 8))
    let start = Int(entry.word & ((1 << shift) - 1))
    let sectors = Int((entry.word & (L2Entry.Bits.compressed - 1)) >> shift) + 1
    return CompressedCluster(at: HostOffset(start), size: ByteCount(sectors * 512 - start % 512))
  }

  /// What is wrong with the entry, in a clause; nil when it keeps the rules.
  func fault(in entry: L2Entry) -> String? {
    if entry.isCompressed {
      if usesDataFile { return "a compressed cluster in an image with an external data file" }
      if entry.isCopied || entry.bitmap != 0 { return "a compressed cluster with flags that contradict it" }
      return nil
    }
    let reserved: UInt64 = 0x3F00_0000_0000_01FE | (hasZeroFlag && !hasExtendedL2 ? 0 : L2Entry.Bits.zero)
    if entry.word & reserved != 0 { return "reserved bits are set" }
    if entry.hostOffset.bytes % (1 << clusterBits) != 0 { return "a host offset that is not a cluster's" }
    if entry.word == L2Entry.Bits.copied && !usesDataFile { return "a cluster at offset 0" }
    if entry.allocated & entry.zeroed != 0 { return "a subcluster that is both data and zero" }
    if entry.allocated != 0 && !hasHostCluster(entry) { return "data without a host cluster" }
    return nil
  }
}
