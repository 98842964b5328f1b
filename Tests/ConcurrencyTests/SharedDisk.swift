import BackingChain
import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import Synchronization
import TestSupport

/// top.qcow2 over 2.qcow2 over 1.qcow2 over base.raw, in memory with delays at random moments, or in files.
final class SharedDisk: Sendable {
  struct Shape: CustomStringConvertible, Sendable {
    var clusterSize = 4096
    var version = 3
    var hasExtendedL2 = false
    var isInMemory = true

    var description: String {
      "\(clusterSize)-byte clusters v\(version)\(hasExtendedL2 ? " extended" : "") \(isInMemory ? "in memory" : "in files")"
    }

    static let all = [
      Shape(), Shape(clusterSize: 512), Shape(version: 2), Shape(clusterSize: 16384, hasExtendedL2: true),
      Shape(clusterSize: 65536), Shape(isInMemory: false),
      Shape(clusterSize: 16384, hasExtendedL2: true, isInMemory: false),
    ]
  }

  static let sectors = 1024
  static let size = sectors * 512
  /// Below the top, lowest first; in the end none is left.
  static let names = ["base.raw", "1.qcow2", "2.qcow2"]

  let chain: BackingChain
  private let shape: Shape
  private let directory: TemporaryDirectory
  private let storages: [String: MemoryStorage]

  init(_ shape: Shape, seed: UInt64) throws {
    self.shape = shape
    directory = try TemporaryDirectory()
    storages = try Self.images(shape, seed: seed)
    if !shape.isInMemory {
      for (name, storage) in storages { _ = try directory.file(name, storage.content.bytes) }
    }
    chain = try Self.open(shape, directory, storages)
    let delays = Delays(seed: seed)
    for storage in storages.values { storage.setHook { action, _ in delays.next(before: action) } }
  }

  /// What is there when the chain is closed, as the next process sees it.
  func reopened() throws -> (chain: BackingChain, check: CheckReport) {
    for storage in storages.values { storage.setHook(nil) }
    let copies = storages.mapValues { MemoryStorage($0.content, path: $0.path, readOnly: $0.isReadOnly) }
    let chain = try Self.open(shape, directory, copies)
    let storage = chain.snapshot.layers[0].image.storage
    return (chain, try Qcow2Check.run(on: Qcow2Header.read(from: storage), in: storage))
  }

  private static func open(
    _ shape: Shape, _ directory: TemporaryDirectory, _ storages: [String: MemoryStorage]
  ) throws -> BackingChain {
    guard shape.isInMemory else {
      let opened = try ChainOpener.open(path: directory.path("top.qcow2"), options: ChainOptions())
      return BackingChain(layers: opened.layers, active: opened.active)
    }
    guard let top = storages["top.qcow2"] else { throw CancellationError() }
    let active = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: top), storage: top, dataStorage: nil,
      options: .init(budget: TableBudget(limit: 0)))
    var layers = [Layer(image: active, path: top.path, opened: top.status())]
    while let backing = layers.last?.image.backing, let below = storages[String(decoding: backing.name, as: UTF8.self)]
    {
      let image: any Image =
        backing.format == "raw"
        ? try RawImage(below)
        : try Qcow2Image(
          header: Qcow2Header.read(from: below), storage: below, dataStorage: nil, budget: TableBudget(limit: 4096))
      layers.append(Layer(image: image, path: below.path, opened: below.status()))
    }
    return BackingChain(layers: layers, active: active)
  }

  /// Each sector that a layer holds is filled with a word of its own.
  private static func images(_ shape: Shape, seed: UInt64) throws -> [String: MemoryStorage] {
    var random = SeededRandom(seed: seed)
    var content: [String: SparseBytes] = [:]
    for (layer, name) in (names + ["top.qcow2"]).enumerated() {
      let storage = MemoryStorage(path: name)
      if layer > 0 {
        var creation = Qcow2Creation(virtualSize: ByteCount(size))
        creation.clusterSize = ByteCount(layer == 3 ? shape.clusterSize : 2048)
        creation.version = layer == 3 ? shape.version : 3
        creation.hasExtendedL2 = layer == 3 && shape.hasExtendedL2
        creation.backing = RecordedBacking(name: Array(names[layer - 1].utf8), format: layer == 1 ? "raw" : "qcow2")
        try creation.write(to: storage)
      }
      let image: any WritableImage =
        layer == 0
        ? try RawImage(MemoryStorage(SparseBytes(size: size), path: name))
        : try Qcow2ActiveImage(
          header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil,
          options: .init(budget: TableBudget(limit: 0)))
      let chain = BackingChain(
        layers: [Layer(image: image, path: name, opened: try image.storage.status())], active: image)
      for start in stride(from: 0, to: sectors, by: 8) where layer < 3 && !random.oneIn(3) {
        let words = (start..<start + 8).flatMap {
          [UInt64](repeating: UInt64(0xF0 + layer) << 56 | UInt64($0), count: 64)
        }
        try chain.write(BigEndian.bytes(of: words[...]).span, at: GuestOffset(start * 512))
      }
      try chain.flush()
      content[name] = (image.storage as? MemoryStorage)?.content
      try chain.close()
    }
    return Dictionary(
      uniqueKeysWithValues: content.map { name, content in
        (name, MemoryStorage(content, path: name, readOnly: name != "top.qcow2"))
      })
  }
}

/// Lets threads sleep between a look-up and what it is used for, so that others come between.
private final class Delays: Sendable {
  private let count = Atomic<UInt64>(0)
  private let seed: UInt64

  init(seed: UInt64) { self.seed = seed }

  func next(before action: StorageAction) {
    var random = SeededRandom(seed: seed &+ count.add(1, ordering: .relaxed).newValue)
    switch action {
    case .read where random.oneIn(8): HostThread.sleep(.microseconds(Int.random(in: 50...5000, using: &random)))
    case .write where random.oneIn(16): HostThread.sleep(.microseconds(Int.random(in: 50...500, using: &random)))
    default: if random.oneIn(8) { HostThread.sleep(.microseconds(1)) }
    }
  }
}
