import BackingChain
import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport

/// The images that a program begins with, and what their guest reads, worked out without the engine.
struct CrashImages: Sendable {
  /// An image that is only read.
  struct Below: Sendable {
    var name: String
    var format: String
    var content: SparseBytes

    var recorded: RecordedBacking { RecordedBacking(name: Array(name.utf8), format: format) }
  }

  /// The active image, and its external data file where it has one.
  private(set) var active: [SparseBytes] = []
  /// Top first.
  private(set) var below: [Below] = []
  private(set) var disk: [UInt8]

  init(_ geometry: CrashGeometry, seed: UInt64) throws {
    disk = geometry.baseBytes(seed: seed)
    below = [Below(name: "base.raw", format: "raw", content: SparseBytes(disk))]
    if let size = geometry.middleSize { try addMiddle(size: size) }
    disk = Array((disk + [UInt8](repeating: 0, count: geometry.diskSize)).prefix(geometry.diskSize))
    switch geometry.history {
    case .fresh: active = [try creation(geometry).content]
    case .full:
      let storage = try creation(geometry)
      try leak(in: storage)
      active = [storage.content]
    case .scattered:
      let storage = try creation(geometry)
      try scatter(in: storage, blocks: 80)
      active = [storage.content]
    case .snapshot, .sharedBehindOwn, .compressed, .dirty, .dataFile: try createByQemu(geometry)
    }
  }

  private func creation(_ geometry: CrashGeometry) throws -> MemoryStorage {
    let storage = MemoryStorage(path: "top.qcow2")
    var creation = Qcow2Creation(virtualSize: ByteCount(geometry.diskSize))
    creation.clusterSize = ByteCount(geometry.clusterSize)
    creation.version = geometry.version
    creation.hasExtendedL2 = geometry.hasExtendedL2
    creation.refcountBits = geometry.refcountBits
    creation.backing = below[0].recorded
    try creation.write(to: storage)
    return storage
  }

  /// A qcow2 image of some data and some zeros over the base.
  private mutating func addMiddle(size: Int) throws {
    let storage = try creation(CrashGeometry(clusterSize: 1024, diskSize: size))
    let chain = try chain([storage], kept: 0)
    disk = Array((disk + [UInt8](repeating: 0, count: size)).prefix(size))
    for start in stride(from: 0, to: size, by: 6 << 10) {
      let count = min(2 << 10, size - start)
      let bytes = stamp(100, at: start, count: count)
      try chain.write(bytes.span, at: GuestOffset(start))
      disk.replaceSubrange(start..<(start + count), with: bytes)
      let hidden = (start + 4096)..<(start + 5120)
      guard hidden.upperBound <= size else { continue }
      try chain.zero(GuestRange(at: GuestOffset(hidden.lowerBound), count: ByteCount(hidden.count)), reserving: false)
      disk.replaceSubrange(hidden, with: repeatElement(0, count: hidden.count))
    }
    try chain.close()
    below.insert(Below(name: "middle.qcow2", format: "qcow2", content: storage.content), at: 0)
  }

  /// Takes clusters for plans that are never carried out, until all are taken that the refcount table can count.
  private func leak(in storage: MemoryStorage) throws {
    let header = try Qcow2Header.read(from: storage)
    let image = try Qcow2ActiveImage(header: header, storage: storage, dataStorage: nil, options: .init())
    let perBlock = (header.clusterSize.bytes * 8) >> header.refcountOrder
    let end = HostOffset((header.clusterSize.bytes / 8 * perBlock - perBlock / 2) * header.clusterSize.bytes)
    let disk = GuestRange(at: GuestOffset(0), count: header.virtualSize)
    while try image.prepare(disk).target < end {}
    try image.finish()
  }

  /// Takes the clusters that so many refcount blocks count, and gives one of each back.
  private func scatter(in storage: MemoryStorage, blocks: Int) throws {
    let header = try Qcow2Header.read(from: storage)
    let image = try Qcow2ActiveImage(header: header, storage: storage, dataStorage: nil, options: .init())
    let perBlock = (header.clusterSize.bytes * 8) >> header.refcountOrder
    var spare: [Int: WritePlan] = [:]
    while spare.keys.max() ?? 0 < blocks {
      let plan = try image.prepare(GuestRange(at: GuestOffset(0), count: header.clusterSize))
      spare[plan.target.bytes / header.clusterSize.bytes / perBlock] = plan
    }
    for plan in spare.values { image.abandon(plan) }
    try image.finish()
  }

  /// Every other cluster is written by QEMU; then there is a snapshot of it, or QEMU is killed.
  private mutating func createByQemu(_ geometry: CrashGeometry) throws {
    let folder = try CrashFolder(below)
    var options = "cluster_size=\(geometry.clusterSize),compat=1.1"
    if geometry.history == .dirty { options += ",lazy_refcounts=on" }
    if geometry.history == .dataFile { options += ",data_file=top.data" }
    try folder.run(
      "qemu-img", "create", "-q", "-f", "qcow2", "-F", below[0].format, "-b", below[0].name, "-o", options,
      "top.qcow2", "\(geometry.diskSize)")
    if geometry.history == .sharedBehindOwn { return try shareBehindOwn(geometry, in: folder) }
    var commands: [String] = []
    for start in stride(from: 0, to: geometry.diskSize, by: 2 * geometry.clusterSize) {
      let (value, count) = (
        UInt8(start / geometry.clusterSize % 100 + 3), min(geometry.clusterSize, geometry.diskSize - start)
      )
      commands += ["-c", "write \(geometry.history == .compressed ? "-c " : "")-P \(value) \(start) \(count)"]
      disk.replaceSubrange(start..<(start + count), with: repeatElement(value, count: count))
    }
    if geometry.history == .dirty { commands += ["-c", "flush", "-c", "sigraise 9"] }
    try folder.run(
      "qemu-io", ["-t", "unsafe", "-f", "qcow2"] + commands + ["top.qcow2"], mayFail: geometry.history == .dirty)
    if geometry.history == .snapshot { try folder.run("qemu-img", "snapshot", "-c", "one", "top.qcow2") }
    active = try folder.contents(of: geometry.history == .dataFile ? ["top.qcow2", "top.data"] : ["top.qcow2"])
  }

  /// QEMU takes the lowest free clusters. Four are freed again, of which the snapshot takes two, the L2 table one, and the
  /// last one, before that of guest cluster 10, what is written to guest cluster 9.
  private mutating func shareBehindOwn(_ geometry: CrashGeometry, in folder: CrashFolder) throws {
    let size = geometry.clusterSize
    func write(_ cluster: Int) -> [String] { ["-c", "write -P \(cluster + 3) \(cluster * size) \(size)"] }
    let shared = [10, 0, 2, 4, 6, 8, 12]
    let freed = [1, 3, 5, 7]
    let commands = (freed + shared).flatMap(write) + freed.flatMap { ["-c", "discard \($0 * size) \(size)"] }
    try folder.run("qemu-io", ["-t", "unsafe", "-f", "qcow2"] + commands + ["top.qcow2"])
    try folder.run("qemu-img", "snapshot", "-c", "one", "top.qcow2")
    try folder.run("qemu-io", ["-t", "unsafe", "-f", "qcow2"] + write(9) + ["top.qcow2"])
    for (clusters, isData) in [(shared + [9], true), (freed, false)] {
      for cluster in clusters {
        let bytes = repeatElement(isData ? UInt8(cluster + 3) : 0, count: size)
        disk.replaceSubrange(cluster * size..<(cluster + 1) * size, with: bytes)
      }
    }
    active = try folder.contents(of: ["top.qcow2"])
  }

  /// The chain when the active image, opened for writing, has what is below from number `kept` on.
  func chain(_ storages: [MemoryStorage], kept: Int) throws -> BackingChain {
    let header = try Qcow2Header.read(from: storages[0])
    let image = try Qcow2ActiveImage(
      header: header, storage: storages[0], dataStorage: storages.dropFirst().first,
      options: .init(budget: TableBudget(limit: 0)))
    let top = Layer(image: image, path: storages[0].path, opened: storages[0].status())
    return BackingChain(layers: [top] + (try below[kept...].map { try $0.layer() }), active: image)
  }
}

extension CrashImages.Below {
  fileprivate func layer() throws -> Layer {
    let storage = MemoryStorage(content, path: name, readOnly: true)
    let image: any Image =
      format == "raw"
      ? try RawImage(storage)
      : try Qcow2Image(
        header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil,
        budget: TableBudget(limit: ByteCount(1 << 20)))
    return Layer(image: image, path: name, opened: storage.status())
  }
}

extension BackingChain {
  /// All that the guest reads.
  func wholeDisk() throws -> [UInt8] {
    try [UInt8](capacity: virtualSize.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      _ = try read(GuestRange(at: GuestOffset(0), count: virtualSize), into: &output)
    }
  }
}
