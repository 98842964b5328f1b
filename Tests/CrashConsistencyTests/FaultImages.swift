import Foundation
import HostStorage
import TestSupport

/// top.qcow2 over middle.qcow2 over base.raw, as bytes, the top in several makes; by QEMU's programs, once for all tests.
struct FaultImages: Sendable {
  /// The top's make.
  enum Make: CaseIterable, Sendable {
    case plain
    /// 512-byte clusters with 64-bit refcounts: many L2 tables, many refcount blocks.
    case tiny
    /// A refcount table that is nearly full.
    case full
    case version2
    case subclusters
    case snapshot
    case compressed
    /// Left dirty by lazy refcounts.
    case dirty
    case dataFile

    var clusterSize: Int {
      switch self {
      case .tiny, .full: 512
      case .subclusters: 16384
      default: 4096
      }
    }

    var diskSize: Int { self == .full ? 2_097_152 + 65536 : 98304 }

    fileprivate var options: String {
      let more =
        switch self {
        case .tiny, .full: ",refcount_bits=64"
        case .version2: ""
        case .subclusters: ",extended_l2=on"
        case .dirty: ",lazy_refcounts=on"
        case .dataFile: ",data_file=top.data"
        case .plain, .snapshot, .compressed: ""
        }
      return "cluster_size=\(clusterSize),compat=\(self == .version2 ? "0.10" : "1.1")\(more)"
    }

    /// What the top holds of its own.
    fileprivate var commands: [String] {
      let flag = self == .compressed ? "-c " : ""
      var commands = [3, 4, 9].map { "write \(flag)-P \($0 + 100) \($0 * 4096) 4096" }
      if self != .version2 { commands.append("write -z 24576 4096") }
      // All that one refcount table can count, less what a few steps of a test take.
      if self == .full { commands.append("write -P 77 98304 1960000") }
      if self == .dirty { commands += ["flush", "sigraise 9"] }
      return commands
    }
  }

  let base: SparseBytes
  let middle: SparseBytes
  let tops: [Make: SparseBytes]
  let data: SparseBytes

  init() throws {
    let directory = try TemporaryDirectory()
    func run(_ program: String, _ arguments: [String], mayDie: Bool = false) throws {
      let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
      precondition(outcome.succeeded || mayDie, "\(program) \(arguments): \(outcome.output)")
    }
    func content(_ name: String) throws -> SparseBytes {
      SparseBytes([UInt8](try Data(contentsOf: directory.url.appending(path: name))))
    }
    func qemuIO(_ name: String, _ commands: [String], mayDie: Bool = false) throws {
      try run("qemu-io", ["-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [name], mayDie: mayDie)
    }
    var random = SeededRandom(seed: 3)
    // Sectors of one value each, a quarter of them zero, and an end that is no sector's.
    let bytes = (0..<128).flatMap { _ in
      [UInt8](repeating: random.oneIn(4) ? 0 : UInt8.random(in: 1...90, using: &random), count: 512)
    }
    _ = try directory.file("base.raw", Array(bytes.prefix(65000)))
    try run(
      "qemu-img",
      ["create", "-q", "-f", "qcow2", "-o", "cluster_size=2048", "-b", "base.raw", "-F", "raw"]
        + ["middle.qcow2", "81920"])
    try qemuIO(
      "middle.qcow2",
      ["write -c -P 91 8192 2048", "write -P 92 20480 2048", "write -z 28672 4096", "write -c -P 93 61440 2048"])
    var tops: [Make: SparseBytes] = [:]
    for make in Make.allCases {
      try run(
        "qemu-img",
        ["create", "-q", "-f", "qcow2", "-o", make.options, "-b", "middle.qcow2", "-F", "qcow2"]
          + ["top.qcow2", "\(make.diskSize)"])
      try qemuIO("top.qcow2", make.commands, mayDie: make == .dirty)
      if make == .snapshot { try run("qemu-img", ["snapshot", "-c", "one", "top.qcow2"]) }
      tops[make] = try content("top.qcow2")
    }
    (base, middle, data) = (try content("base.raw"), try content("middle.qcow2"), try content("top.data"))
    self.tops = tops
  }
}
