import BackingChain
import Foundation
import HostStorage
import ImageFormat
import TestSupport
import Testing

/// An open chain, and beside it the bytes that its guest must read.
struct CheckedDisk {
  let chain: BackingChain
  private(set) var model: [UInt8]
  /// What is written: pieces of it, which no two places have in common.
  private static let noise: [UInt8] = {
    var random = SeededRandom(seed: 77)
    return random.bytes(count: 2 << 20)
  }()
  var random: SeededRandom

  init(_ path: String, options: ChainOptions, model: [UInt8], seed: UInt64) throws {
    let opened = try ChainOpener.open(path: path, options: options)
    chain = BackingChain(layers: opened.layers, active: opened.active)
    self.model = model
    random = SeededRandom(seed: seed)
  }

  var layers: [Layer] { chain.snapshot.layers }

  func read(_ range: Range<Int>) throws -> [UInt8] {
    try [UInt8](capacity: range.count) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try chain.read(GuestRange(range), into: &output)
    }
  }

  /// Reads the whole disk in ragged pieces, and some places at random.
  mutating func expectModel(_ moment: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    var position = 0
    while position < model.count {
      let end = min(model.count, position + Int.random(in: 1...(512 << 10), using: &random))
      guard try expectModel(in: position..<end, moment, sourceLocation) else { return }
      position = end
    }
    for _ in 0..<10 {
      let range = random.range(below: model.count, longest: 100_000)
      guard try expectModel(in: range, moment, sourceLocation) else { return }
    }
  }

  private func expectModel(in range: Range<Int>, _ moment: String, _ location: SourceLocation) throws -> Bool {
    let found = try read(range)
    if Data(found) == Data(model[range]) { return true }
    let first = found.indices.first { found[$0] != model[range.lowerBound + $0] } ?? 0
    Issue.record(
      """
      \(moment): byte \(range.lowerBound + first) in \(range) of \(model.count) is \(found[first]), \
      not \(model[range.lowerBound + first])
      """, sourceLocation: location)
    return false
  }

  /// Where the chain says that there is a hole, zeros are read.
  func expectHolesAreZeros() throws {
    var position = 0
    while position < model.count {
      let (isHole, count) = try chain.extent(
        at: GuestOffset(position), limit: ByteCount(model.count - position))
      #expect(count.bytes > 0)
      let bytes = model[position..<(position + count.bytes)]
      #expect(!isHole || Data(bytes) == Data(count: count.bytes), "a hole at \(position) has data")
      position += max(1, count.bytes)
    }
  }

  mutating func write(_ bytes: [UInt8], at offset: Int) throws {
    try chain.write(bytes.span, at: GuestOffset(offset))
    model.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
  }

  mutating func zero(_ range: Range<Int>, reserving: Bool) throws {
    try chain.zero(GuestRange(range), reserving: reserving)
    model.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
  }

  /// Writes, zeros and discards of all sizes, with flushes between them.
  mutating func change(times: Int, clusterSize: Int) throws {
    for _ in 0..<times {
      let longest = random.oneIn(3) ? 3 * min(clusterSize, 256 << 10) : 9000
      let range = random.range(below: model.count, longest: longest)
      let clusters =
        range.lowerBound / clusterSize
        * clusterSize..<min(
          model.count, (range.upperBound + clusterSize - 1) / clusterSize * clusterSize)
      switch Int.random(in: 0..<9, using: &random) {
      case 0: try zero(range, reserving: true)
      case 1: try zero(range, reserving: false)
      case 2: try zero(clusters, reserving: false)
      case 3: try zero(clusters, reserving: true)
      case 4: try chain.flush()
      default:
        let start = Int.random(in: 0...(Self.noise.count - range.count), using: &random)
        try write(Array(Self.noise[start..<(start + range.count)]), at: range.lowerBound)
      }
    }
  }

  /// Populates everything above `base`, with a guest that writes meanwhile. Afterwards nothing is left.
  mutating func stream(above base: Layer?, disturbedBy changes: Int, clusterSize: Int) throws {
    let end = GuestOffset(model.count)
    var position = GuestOffset(0)
    while let range = try chain.nextUnpopulated(from: position, above: base) {
      try #require(
        range.start >= position && !range.isEmpty && range.end <= end, "no progress at \(position): \(range)")
      if changes > 0, random.oneIn(8) { try change(times: changes, clusterSize: clusterSize) }
      _ = try chain.populate(range, above: base)
      position = range.end
    }
    // A discard while it ran may have left something behind.
    while let range = try chain.nextUnpopulated(from: GuestOffset(0), above: base) {
      _ = try chain.populate(range, above: base)
      let next = try chain.nextUnpopulated(from: GuestOffset(0), above: base)
      try #require(next != range, "populating \(range) changes nothing")
    }
    #expect(try chain.remaining(above: base) == 0)
  }
}

extension GuestRange {
  init(_ range: Range<Int>) {
    self.init(from: GuestOffset(range.lowerBound), to: GuestOffset(range.upperBound))
  }
}
