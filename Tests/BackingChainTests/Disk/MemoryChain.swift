import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport

/// A chain in memory: qcow2 over qcow2 over raw.
struct MemoryChain {
  struct Shape: CustomStringConvertible, Sendable {
    var clusterSize = 4096
    var version = 3
    var hasExtendedL2 = false
    var topSize = 200 << 10
    var middleSize = 100_352
    var baseSize = 180_000

    var description: String {
      "top v\(version)\(hasExtendedL2 ? " extended" : "") \(clusterSize)-byte clusters \(topSize)"
        + " over \(middleSize) over \(baseSize)"
    }

    static let all = [
      Shape(),
      Shape(clusterSize: 512, topSize: 40 << 10, middleSize: 20 << 10, baseSize: 50_001),
      Shape(version: 2),
      Shape(clusterSize: 16 << 10, hasExtendedL2: true),
      Shape(clusterSize: 64 << 10, topSize: 100 << 10, middleSize: 300 << 10, baseSize: 0),
      Shape(topSize: 70_144, middleSize: 60_416, baseSize: 66_000),
    ]
  }

  let top: MemoryStorage
  let middle: MemoryStorage
  let base: MemoryStorage
  let layers: [Layer]
  let chain: BackingChain
  /// What the guest reads, as a reference.
  var expected: [UInt8]

  init(_ shape: Shape, using random: inout SeededRandom) throws {
    var baseBytes = [UInt8](repeating: 0, count: shape.baseSize)
    for start in stride(from: 0, to: shape.baseSize, by: 512) where Bool.random(using: &random) {
      let value = UInt8.random(in: 1...255, using: &random)
      for index in start..<min(start + 512, shape.baseSize) { baseBytes[index] = value }
    }
    base = MemoryStorage(baseBytes, path: "base.raw", readOnly: true)
    let empty = MemoryStorage()
    top = MemoryStorage(path: "top.qcow2")

    var creation = Qcow2Creation(virtualSize: ByteCount(shape.middleSize))
    creation.clusterSize = 1024
    creation.backing = RecordedBacking(name: Array("base.raw".utf8), format: "raw")
    try creation.write(to: empty)
    let (middleModel, content) = try Self.write(
      shape.middleSize / 3000, over: base, to: empty, size: shape.middleSize, using: &random)
    middle = MemoryStorage(content, path: "middle.qcow2", readOnly: true)

    creation = Qcow2Creation(virtualSize: ByteCount(shape.topSize))
    creation.clusterSize = ByteCount(shape.clusterSize)
    creation.version = shape.version
    creation.hasExtendedL2 = shape.hasExtendedL2
    creation.backing = RecordedBacking(name: Array("middle.qcow2".utf8), format: "qcow2")
    try creation.write(to: top)

    let active = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: top), storage: top, dataStorage: nil,
      options: .init(budget: TableBudget(limit: 0)))
    let between = try Qcow2Image(
      header: Qcow2Header.read(from: middle), storage: middle, dataStorage: nil, budget: TableBudget(limit: 4096))
    layers = [
      Layer(image: active, path: top.path, opened: top.status()),
      Layer(image: between, path: middle.path, opened: middle.status()),
      Layer(image: try RawImage(base), path: base.path, opened: base.status()),
    ]
    chain = BackingChain(layers: layers, active: active)
    expected = DiskModel([DiskModel.Layer(size: shape.topSize), middleModel, DiskModel.Layer(baseBytes)]).bytes
  }

  /// Writes to the middle image, and says what it then has of its own, whole clusters as they are.
  private static func write(
    _ count: Int, over base: MemoryStorage, to middle: MemoryStorage, size: Int, using random: inout SeededRandom
  ) throws -> (model: DiskModel.Layer, content: SparseBytes) {
    let file = MemoryStorage(middle.content)
    let image = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: file), storage: file, dataStorage: nil,
      options: .init(budget: TableBudget(limit: 0)))
    let layers = [
      Layer(image: image, path: middle.path, opened: middle.status()),
      Layer(image: try RawImage(MemoryStorage(base.content)), path: base.path, opened: base.status()),
    ]
    let chain = BackingChain(layers: layers, active: image)
    for _ in 0..<count {
      let start = Int.random(in: 0..<size, using: &random)
      let range = start..<min(size, start + Int.random(in: 1...3000, using: &random))
      if Int.random(in: 0..<4, using: &random) == 0 {
        try chain.zero(GuestRange(range), reserving: false)
      } else {
        let bytes = [UInt8](repeating: UInt8.random(in: 1...255, using: &random), count: range.count)
        try chain.write(bytes.span, at: GuestOffset(range.lowerBound))
      }
    }
    try chain.flush()
    var model = DiskModel.Layer(size: size)
    let bytes = try chain.bytes(in: 0..<size)
    var position = GuestOffset(0)
    while position.bytes < size {
      let run = try image.mapping(at: position, limit: ByteCount(size) - ByteCount(position.bytes))
      if run.mapping != .unallocated {
        for index in position.bytes..<(position + run.count).bytes { model.bytes[index] = bytes[index] }
      }
      position += run.count
    }
    try chain.close()
    return (model, file.content)
  }
}

extension GuestRange {
  init(_ range: Range<Int>) {
    self.init(at: GuestOffset(range.lowerBound), count: ByteCount(range.count))
  }
}

extension BackingChain {
  func bytes(in range: Range<Int>) throws -> [UInt8] {
    try [UInt8](capacity: range.count) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      _ = try read(GuestRange(range), into: &output)
    }
  }

  /// Populates everything above `base`, as a job does.
  func stream(above base: Layer?) throws {
    var position = GuestOffset(0)
    while let range = try nextUnpopulated(from: position, above: base) {
      _ = try populate(range, above: base)
      position = range.end
    }
  }
}
