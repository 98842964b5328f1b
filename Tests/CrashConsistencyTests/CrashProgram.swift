import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport

/// What a guest and the job do to a chain in memory, while an oracle notes what a crash may leave.
struct CrashProgram {
  let geometry: CrashGeometry
  let seed: UInt64
  let storage: MemoryStorage
  let base: SparseBytes
  let initial: SparseBytes
  private let chain: BackingChain
  private var random: SeededRandom
  private(set) var oracle: SectorOracle
  private var model: [UInt8]
  /// What was done, for a failure's message.
  private(set) var steps: [String] = []
  /// The log's length when the header's switch began and when it had returned; nil before.
  private(set) var completion: (began: Int, ended: Int)?

  init(_ geometry: CrashGeometry, seed: UInt64) throws {
    self.geometry = geometry
    self.seed = seed
    random = SeededRandom(seed: seed)
    base = SparseBytes(geometry.baseBytes(seed: seed))
    storage = MemoryStorage(try geometry.image(), path: "top.qcow2")
    storage.forgetLog()
    initial = storage.content
    chain = try CrashProgram.chain(active: storage, base: base)
    model = try chain.wholeDisk()
    oracle = SectorOracle(model)
  }

  static func chain(active: MemoryStorage, base: SparseBytes) throws -> BackingChain {
    let base = MemoryStorage(base, path: "base.raw", readOnly: true)
    let header = try Qcow2Header.read(from: active)
    let image = try Qcow2ActiveImage(header: header, storage: active, dataStorage: nil, options: .init())
    let top = Layer(image: image, path: active.path, opened: active.status())
    let bottom = Layer(image: try RawImage(base), path: base.path, opened: base.status())
    return BackingChain(layers: header.backing == nil ? [top] : [top, bottom], active: image)
  }

  /// Runs `count` random steps, and at the end, where `completes`, streams all and flattens.
  mutating func run(steps count: Int, completes: Bool) throws {
    for _ in 0..<count { try step() }
    if completes { try complete() }
    try chain.flush()
    oracle.didFlush(position: storage.position)
    let found = try chain.wholeDisk()
    precondition(found == model, "\(self): the disk differs from the model without any crash")
    try chain.close()
  }

  private mutating func step() throws {
    let range = someRange()
    switch Int.random(in: 0..<10, using: &random) {
    case 0...3:
      let bytes = (0..<range.count.bytes).map { UInt8(truncatingIfNeeded: $0 / 512 + steps.count * 7 + 1) }
      note("write \(range)", bytes, at: range.start)
      try chain.write(bytes.span, at: range.start)
    case 4, 5:
      let reserving = Bool.random(using: &random)
      note("zero \(range) reserving \(reserving)", [UInt8](repeating: 0, count: range.count.bytes), at: range.start)
      try chain.zero(range, reserving: reserving)
    case 6, 7:
      steps.append("populate \(range)")
      _ = try chain.populate(range, above: nil)
    default:
      steps.append("flush")
      try chain.flush()
      oracle.didFlush(position: storage.position)
    }
  }

  private mutating func note(_ what: String, _ bytes: [UInt8], at offset: GuestOffset) {
    steps.append(what)
    model.replaceSubrange(offset.bytes..<(offset.bytes + bytes.count), with: bytes)
    oracle.willWrite(bytes, at: offset.bytes, position: storage.position)
  }

  private mutating func complete() throws {
    steps.append("complete")
    var position = GuestOffset(0)
    while let range = try chain.nextUnpopulated(from: position, above: nil) {
      _ = try chain.populate(range, above: nil)
      position = range.end
    }
    let began = storage.position
    try chain.complete(recording: nil, keeping: nil)
    completion = (began, storage.position)
    oracle.didFlush(position: storage.position)
  }

  private mutating func someRange() -> GuestRange {
    let size = geometry.diskSize
    // Whole clusters, sectors, and ragged ends.
    let unit = [geometry.clusterSize, 512, 1].randomElement(using: &random) ?? 1
    let start = Int.random(in: 0..<size, using: &random) / unit * unit
    let longest = min(size - start, 6 * geometry.clusterSize)
    let count = max(1, Int.random(in: 1...longest, using: &random) / unit * unit)
    return GuestRange(at: GuestOffset(start), count: ByteCount(min(count, size - start)))
  }
}

extension CrashProgram: CustomStringConvertible {
  var description: String { "\(geometry) seed \(seed): \(steps.joined(separator: "; "))" }
}

extension BackingChain {
  /// All that the guest reads.
  func wholeDisk() throws -> [UInt8] {
    try [UInt8](capacity: virtualSize.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      _ = try read(GuestRange(at: GuestOffset(0), count: virtualSize), into: &output)
    }
  }
}
