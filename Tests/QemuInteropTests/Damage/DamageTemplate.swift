import Foundation
import ImageFormat
import TestSupport
import Testing

/// A kind of image to be damaged, as QEMU makes it.
enum DamageTemplate: String, CaseIterable, Sendable {
  case old, tiny, tinyWide, small, usual, large, extended, lazy, dataFile

  var options: String {
    switch self {
    case .old: "cluster_size=4k,compat=0.10"
    case .tiny: "cluster_size=512"
    case .tinyWide: "cluster_size=512,refcount_bits=64"
    case .small: "cluster_size=4k,refcount_bits=1"
    case .usual: "cluster_size=64k"
    case .large: "cluster_size=2M,refcount_bits=64"
    case .extended: "cluster_size=16k,extended_l2=on,compression_type=zstd"
    case .lazy: "cluster_size=4k,lazy_refcounts=on"
    case .dataFile: "cluster_size=64k,data_file=disk.data,data_file_raw=on"
    }
  }

  var clusterSize: Int {
    switch self {
    case .tiny, .tinyWide: 512
    case .old, .small, .lazy: 4 << 10
    case .extended: 16 << 10
    case .usual, .dataFile: 64 << 10
    case .large: 2 << 20
    }
  }

  /// The guest's disk in clusters.
  static let clusters = 24

  /// A table of 2 MiB takes its time; those of the other sizes do not.
  var share: Int { self == .large ? 8 : 1 }

  /// Data, a hole, zeros, and what else the options allow: a compressed cluster, a snapshot, a bitmap; unclean where refcounts
  /// are lazy.
  func make(in directory: TemporaryDirectory) throws -> (image: [UInt8], data: [UInt8]?) {
    let image = directory.path("disk.qcow2")
    let size = clusterSize
    try Qemu.img("create", "-q", "-f", "qcow2", "-o", options, on: image, and: "\(Self.clusters * size)")
    let writes = [
      "write -q -P 1 0 \(size * 3)", "write -q -z \(size * 5) \(size)", "write -q -P 2 \(size * 7) \(size * 2)",
    ]
    if self != .dataFile && self != .small {
      try Qemu.io(image, ["write -q -c -P 3 \(size * 10) \(size)", "write -q -c -P 4 \(size * 11) \(size)"])
    }
    if self == .lazy {
      try Qemu.ioKilled(image, writes + ["flush"])
    } else {
      try Qemu.io(image, writes)
      if self != .dataFile && self != .small { try Qemu.img("snapshot", "-q", "-c", "s1", on: image) }
      if self != .old && self != .dataFile { try Qemu.img("bitmap", "--add", on: image, and: "b1") }
      // The bitmap's first bit is set, so that it has data of its own.
      try Qemu.io(image, ["write -q -P 5 \(size) \(size)"])
    }
    let data = self == .dataFile ? try Data(contentsOf: URL(filePath: directory.path("disk.data"))) : nil
    return ([UInt8](try Data(contentsOf: URL(filePath: image))), data.map { [UInt8]($0) })
  }
}

/// Where an image has what, by an own reading of its bytes.
struct ImagePlaces {
  /// A word that says where something is.
  struct Pointer: Sendable {
    let name: String
    let position: Int
    let target: Int
  }

  /// From the header down, the first of each kind.
  private(set) var pointers: [Pointer] = []
  let refcountBlock: Int
  let refcountOrder: Int

  init(_ bytes: [UInt8], clusterSize: Int, hasDataFile: Bool) {
    func word(_ position: Int) -> UInt64 { BigEndian.load(UInt64.self, from: bytes.span, at: position) }
    func target(_ position: Int) -> Int { Int(word(position) & 0x00FF_FFFF_FFFF_FE00) }
    refcountBlock = target(target(48))
    refcountOrder = bytes[7] == 2 ? 4 : Int(bytes[99])
    func add(_ name: String, _ position: Int) {
      pointers.append(Pointer(name: name, position: position, target: target(position)))
    }
    add("L1 table", 40)
    add("refcount table", 48)
    add("refcount block", target(48))
    add("L2 table", target(40))
    if !hasDataFile {
      add("data", target(target(40)))
      let width = bytes[7] == 3 && bytes[79] & 16 != 0 ? 16 : 8
      add("more data", target(target(40)) + 8 * width)
    }
    if BigEndian.load(UInt32.self, from: bytes.span, at: 60) > 0 {
      add("snapshot table", 64)
      add("snapshot's L1 table", target(64))
      add("snapshot's L2 table", target(target(64)))
    }
    var position = bytes[7] == 2 ? 72 : Int(BigEndian.load(UInt32.self, from: bytes.span, at: 100))
    while position + 8 <= clusterSize {
      let kind = BigEndian.load(UInt32.self, from: bytes.span, at: position)
      if kind == 0 { break }
      if kind == 0x2385_2875 {
        add("bitmap directory", position + 24)
        add("bitmap table", target(position + 24))
        let data = target(target(position + 24))
        if target(data) != 0 { add("bitmap", data) }
      }
      position += 8 + (Int(BigEndian.load(UInt32.self, from: bytes.span, at: position + 4)) + 7) / 8 * 8
    }
  }
}
