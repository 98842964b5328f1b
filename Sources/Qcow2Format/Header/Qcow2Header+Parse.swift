import HostStorage
import ImageFormat

extension Qcow2Header {
  /// Limits that QEMU keeps too: a hostile header cannot make a reader take more memory than these.
  enum Limit {
    static let l1Bytes = 32 << 20
    static let refcountTableBytes = 8 << 20
    static let snapshots = 65_536
    /// Host offsets have 56 bits (specification, "Cluster mapping").
    static let hostOffset = 1 << 56
  }

  /// Parses the first cluster (or as much of it as the file has), which begins with the magic.
  init(firstCluster bytes: [UInt8], fileSize: ByteCount) throws(HeaderFault) {
    func field32(_ position: Int) -> Int { Int(BigEndian.load(UInt32.self, from: bytes.span, at: position)) }
    func field64(_ position: Int) -> UInt64 { BigEndian.load(UInt64.self, from: bytes.span, at: position) }
    func offset(_ position: Int, _ what: String) throws(HeaderFault) -> HostOffset {
      guard let value = Int(exactly: field64(position)), value < Limit.hostOffset, value % (1 << field32(20)) == 0
      else { throw HeaderFault(.corrupt, "the offset of its \(what) is not a cluster's") }
      return HostOffset(value)
    }

    version = field32(4)
    guard version == 2 || version == 3 else {
      throw HeaderFault(.unsupported, "qcow2 version \(version) is not supported")
    }
    clusterBits = field32(20)
    let clusterSize = 1 << clusterBits
    guard version == 2 || bytes.count >= 104 else { throw HeaderFault(.corrupt, "its header is cut off") }

    incompatible = version == 3 ? field64(72) : 0
    autoclear = version == 3 ? field64(88) : 0
    refcountOrder = version == 3 ? field32(96) : 4
    headerLength = version == 3 ? field32(100) : 72
    guard refcountOrder <= 6 else { throw HeaderFault(.unsupported, "its refcounts are wider than 64 bits") }
    guard version == 2 || headerLength >= 104, headerLength % 8 == 0, headerLength <= min(clusterSize, bytes.count)
    else { throw HeaderFault(.corrupt, "its header has an impossible length") }

    let nameOffset = field64(8)
    let nameLength = field32(16)
    guard nameOffset <= UInt64(clusterSize) else {
      throw HeaderFault(.corrupt, "its backing file's name lies outside the first cluster")
    }
    let extensionsLimit = min(nameOffset == 0 ? clusterSize : Int(nameOffset), bytes.count)
    extensionArea = try ExtensionArea(in: bytes, from: headerLength, to: extensionsLimit)
    let extensions = extensionArea.extensions
    nameRange = try Self.checkedName(at: Int(nameOffset), length: nameLength, headerLength: headerLength, in: bytes)

    usesZstd = try Self.compression(in: bytes, headerLength: headerLength, incompatible: incompatible)
    try Self.checkFeatures(incompatible, extensions: extensions)
    try Self.checkEncryption(method: field32(32), extensions: extensions)
    backing = try Self.backing(named: Array(bytes[nameRange]), extensions: extensions)

    guard let size = Int(exactly: field64(24)) else { throw HeaderFault(.corrupt, "its virtual size is too large") }
    virtualSize = ByteCount(size).roundedDown(to: 512)
    l1Count = field32(36)
    l1Offset = try offset(40, "L1 table")
    refcountTableOffset = try offset(48, "refcount table")
    refcountTableClusters = field32(56)
    snapshotCount = field32(60)
    snapshotsOffset = HostOffset(Int(truncatingIfNeeded: field64(64) & 0x7FFF_FFFF_FFFF_FFFF))
    firstCluster = bytes
    try checkTables(fileSize: fileSize)
  }

  private func checkTables(fileSize: ByteCount) throws(HeaderFault) {
    let wordsPerEntry = hasExtendedL2 ? 2 : 1
    guard !hasExtendedL2 || clusterBits >= 14 else {
      throw HeaderFault(.corrupt, "its clusters are too small for extended L2 entries")
    }
    let reachBits = clusterBits + clusterBits - 3 - (wordsPerEntry - 1)
    let needed = (virtualSize.bytes >> reachBits) + (virtualSize.bytes & ((1 << reachBits) - 1) == 0 ? 0 : 1)
    guard l1Count <= Limit.l1Bytes / 8 else { throw HeaderFault(.corrupt, "its L1 table is too large") }
    guard l1Count >= needed else { throw HeaderFault(.corrupt, "its L1 table is too small for its virtual size") }
    if l1Count > 0 {
      guard l1Offset.bytes > 0, l1Offset.bytes + l1Count * 8 <= fileSize.bytes else {
        throw HeaderFault(.corrupt, "its L1 table lies outside the file or over the header")
      }
    }
    guard refcountTableClusters <= Limit.refcountTableBytes >> clusterBits || refcountTableClusters == 1 else {
      throw HeaderFault(.corrupt, "its refcount table is too large")
    }
    guard snapshotCount <= Limit.snapshots else { throw HeaderFault(.corrupt, "it has too many snapshots") }
    guard snapshotCount == 0 || clusterOffset(UInt64(snapshotsOffset.bytes)) != nil else {
      throw HeaderFault(.corrupt, "the offset of its snapshot table is not a cluster's")
    }
    guard autoclear & FeatureBits.Autoclear.rawDataFile == 0 || usesDataFile else {
      throw HeaderFault(.corrupt, "it claims a raw external data file and has none")
    }
  }

  private static func checkedName(at position: Int, length: Int, headerLength: Int, in bytes: [UInt8])
    throws(HeaderFault) -> Range<Int>
  {
    // QEMU's block-stream writes an offset without a length where it was told an empty name; it reads it as none, too.
    if position == 0 || length == 0 { return 0..<0 }
    guard length <= longestName else {
      throw HeaderFault(.corrupt, "its backing file's name has an impossible length of \(length)")
    }
    guard position >= headerLength, position + length <= bytes.count else {
      throw HeaderFault(.corrupt, "its backing file's name lies over the header or outside the first cluster")
    }
    return position..<(position + length)
  }

  private static func compression(in bytes: [UInt8], headerLength: Int, incompatible: UInt64)
    throws(HeaderFault) -> Bool
  {
    let type = headerLength > 104 ? bytes[104] : 0
    let flagged = incompatible & FeatureBits.Incompatible.compressionType != 0
    guard type <= 1 else { throw HeaderFault(.unsupported, "its compression type \(type) is not supported") }
    guard flagged == (type != 0) else {
      throw HeaderFault(.corrupt, "its compression type and its feature bit contradict each other")
    }
    return type == 1
  }

  private static func checkFeatures(_ incompatible: UInt64, extensions: [HeaderExtension]) throws(HeaderFault) {
    let unknown = incompatible & ~FeatureBits.Incompatible.known
    if unknown != 0 {
      let table = extensions.first { $0.kind == HeaderExtension.Kind.featureNames }
      let names = FeatureName.table(in: table?.data ?? [])
      let list = (0..<64).filter { unknown >> UInt64($0) & 1 == 1 }.map { bit in
        names.first { $0.kind == 0 && $0.bit == bit }?.name ?? "bit \(bit)"
      }
      throw HeaderFault(.unsupported, "it needs features that are not supported: \(list.joined(separator: ", "))")
    }
    let hasName = extensions.contains { $0.kind == HeaderExtension.Kind.dataFile && !$0.data.isEmpty }
    guard incompatible & FeatureBits.Incompatible.dataFile == 0 || hasName else {
      throw HeaderFault(.corrupt, "it needs an external data file and does not name one")
    }
  }

  private static func checkEncryption(method: Int, extensions: [HeaderExtension]) throws(HeaderFault) {
    let names = [1: "AES", 2: "LUKS"]
    guard method == 0 else {
      let name = names[method] ?? "unknown method \(method)"
      throw HeaderFault(.unsupported, "it is encrypted (\(name)), which is not supported")
    }
    guard !extensions.contains(where: { $0.kind == HeaderExtension.Kind.crypto }) else {
      throw HeaderFault(.corrupt, "it has an encryption header and is not encrypted")
    }
  }

  private static func backing(named name: [UInt8], extensions: [HeaderExtension])
    throws(HeaderFault) -> RecordedBacking?
  {
    guard !name.isEmpty else { return nil }
    guard !name.contains(0) else { throw HeaderFault(.corrupt, "its backing file's name has a NUL byte in it") }
    let recorded = extensions.first { $0.kind == HeaderExtension.Kind.backingFormat }?.data
    guard let recorded, !recorded.isEmpty else { return RecordedBacking(name: name, format: nil) }
    guard recorded.count < 16, recorded.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      throw HeaderFault(.corrupt, "its backing file's format is not a format's name")
    }
    return RecordedBacking(name: name, format: String(decoding: recorded, as: UTF8.self))
  }
}
