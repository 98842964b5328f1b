import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport

/// The shape of an image that is crashed.
struct CrashGeometry: CustomStringConvertible, Sendable {
  var clusterSize = 4096
  var version = 3
  var hasExtendedL2 = false
  var refcountBits = 16
  var diskSize = 96 << 10
  var baseSize = 96 << 10
  /// A history that only qemu-img can give an image.
  var history = History.fresh

  enum History: Sendable {
    case fresh
    /// Clusters shared with an internal snapshot.
    case snapshot
    case compressed
  }

  var description: String {
    "\(clusterSize)-byte clusters v\(version)\(hasExtendedL2 ? " extended" : "") refcounts \(refcountBits) \(history)"
  }

  static let all: [CrashGeometry] = [
    CrashGeometry(),
    CrashGeometry(clusterSize: 512, diskSize: 40 << 10, baseSize: 30_000),
    // The refcount table has to grow: 64-bit refcounts of 512-byte clusters.
    CrashGeometry(clusterSize: 512, refcountBits: 64, diskSize: 64 << 10),
    CrashGeometry(clusterSize: 1024, version: 2, diskSize: 64 << 10),
    CrashGeometry(clusterSize: 4096, refcountBits: 1, baseSize: 50_000),
    CrashGeometry(clusterSize: 16 << 10, hasExtendedL2: true, diskSize: 160 << 10, baseSize: 200 << 10),
    CrashGeometry(clusterSize: 4096, history: .snapshot),
    CrashGeometry(clusterSize: 512, diskSize: 32 << 10, history: .snapshot),
    CrashGeometry(clusterSize: 4096, history: .compressed),
  ]

  func baseBytes(seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed &+ 1)
    // Sectors of one value each, a quarter of them zero.
    return (0..<(baseSize + 511) / 512).flatMap { _ -> [UInt8] in
      let value = random.oneIn(4) ? 0 : UInt8.random(in: 1...255, using: &random)
      return [UInt8](repeating: value, count: 512)
    }.prefix(baseSize).map { $0 }
  }

  func image() throws -> SparseBytes {
    switch history {
    case .fresh:
      let storage = MemoryStorage()
      var creation = Qcow2Creation(virtualSize: ByteCount(diskSize))
      creation.clusterSize = ByteCount(clusterSize)
      creation.version = version
      creation.hasExtendedL2 = hasExtendedL2
      creation.refcountBits = refcountBits
      creation.backing = RecordedBacking(name: Array("base.raw".utf8), format: "raw")
      try creation.write(to: storage)
      return storage.content
    case .snapshot, .compressed:
      return try imageByQemu()
    }
  }

  /// An image with every other cluster written, then a snapshot of it, or compressed.
  private func imageByQemu() throws -> SparseBytes {
    let directory = try TemporaryDirectory()
    let (base, top) = (try directory.file("base.raw", baseBytes(seed: 0)), directory.path("top.qcow2"))
    func qemu(_ program: String, _ arguments: String...) throws {
      let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
      precondition(outcome.succeeded, "\(program) \(arguments): \(outcome.output)")
    }
    try qemu(
      "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, "-o",
      "cluster_size=\(clusterSize),compat=1.1", top, "\(diskSize)")
    let flag = history == .compressed ? "-c " : ""
    let commands = stride(from: 0, to: diskSize, by: 2 * clusterSize).flatMap { start in
      ["-c", "write \(flag)-P \(start / clusterSize % 250 + 3) \(start) \(clusterSize)"]
    }
    let outcome = try ExternalProgram("qemu-io").run(["-f", "qcow2"] + commands + [top])
    precondition(outcome.succeeded, outcome.output)
    if history == .snapshot { try qemu("qemu-img", "snapshot", "-c", "one", top) }
    return SparseBytes([UInt8](try Data(contentsOf: URL(filePath: top))))
  }
}
