import TestSupport

/// The shape of an image that is crashed.
struct CrashGeometry: CustomStringConvertible, Sendable {
  var clusterSize = 4096
  var version = 3
  var hasExtendedL2 = false
  var refcountBits = 16
  var diskSize = 96 << 10
  var baseSize = 96 << 10
  var history = History.fresh
  /// The size of a qcow2 image between the active image and the base; it may be shorter than either.
  var middleSize: Int?

  enum History: Sendable {
    case fresh
    /// Clusters shared with an internal snapshot.
    case snapshot
    /// The same, and directly before a shared one, on the disk and on the host, one that is the active image's own.
    case sharedBehindOwn
    case compressed
    /// QEMU was killed, and its refcounts were deferred: they are wrong.
    case dirty
    /// With an external data file.
    case dataFile
    /// Every cluster that the refcount table can count is taken, most by leaks.
    case full
    /// Every refcount block has a single free cluster.
    case scattered
  }

  var description: String {
    "\(clusterSize)-byte clusters v\(version)\(hasExtendedL2 ? " extended" : "") refcounts \(refcountBits) \(history)"
      + (middleSize.map { " over \($0) bytes" } ?? "")
  }

  /// Many kinds of images that are new.
  static let plain = [
    CrashGeometry(),
    CrashGeometry(clusterSize: 512, diskSize: 40 << 10, baseSize: 30_000),
    // Many refcount blocks.
    CrashGeometry(clusterSize: 512, refcountBits: 64, diskSize: 64 << 10),
    CrashGeometry(clusterSize: 1024, version: 2, diskSize: 64 << 10),
    CrashGeometry(clusterSize: 4096, refcountBits: 1, baseSize: 50_000),
    CrashGeometry(clusterSize: 16 << 10, hasExtendedL2: true, diskSize: 160 << 10, baseSize: 200 << 10),
  ]

  /// A quarter of the sectors is zero; each other one has a value and its own number all over.
  func baseBytes(seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed &+ 1)
    return (0..<(baseSize + 511) / 512).flatMap { sector -> [UInt8] in
      let isZero = random.oneIn(4)
      let value = UInt8.random(in: 128...255, using: &random)
      return isZero ? [UInt8](repeating: 0, count: 512) : stamp(value, at: sector * 512, count: 512)
    }.prefix(baseSize).map { $0 }
  }
}

/// Bytes that say who wrote them and which sector they belong to: `value` and the sector's number by turns.
func stamp(_ value: UInt8, at offset: Int, count: Int) -> [UInt8] {
  (offset..<(offset + count)).map { $0 & 1 == 0 ? value : UInt8(truncatingIfNeeded: $0 / 512) }
}
