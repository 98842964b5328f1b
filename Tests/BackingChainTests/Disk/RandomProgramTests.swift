import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Random programs on a chain, compared with a reference that is an array of bytes a layer.
@Suite struct RandomProgramTests {
  /// How a program ends.
  enum End: CaseIterable, Sendable {
    case flattened
    /// The base is chosen before anything is populated.
    case keepsBase
    /// Everything is populated first, and then a base is chosen.
    case keepsBaseLate
    case keepsMiddle
  }

  @Test(arguments: MemoryChain.Shape.all, End.allCases)
  func theChainReadsAsTheReference(_ shape: MemoryChain.Shape, _ end: End) throws {
    for seed in TestRun.seeds(2) {
      var random = SeededRandom(seed: seed)
      var memory = try MemoryChain(shape, using: &random)
      for step in 0..<20 {
        try Self.step(&memory, size: shape.topSize, using: &random)
        try expectSame(memory, "\(shape) \(end) seed \(seed) step \(step)")
      }
      try finish(&memory, end, "\(shape) \(end) seed \(seed)")
    }
  }

  private static func step(_ memory: inout MemoryChain, size: Int, using random: inout SeededRandom) throws {
    let start = Int.random(in: 0..<size, using: &random)
    let range = start..<min(size, start + Int.random(in: 1...20_000, using: &random))
    switch Int.random(in: 0..<8, using: &random) {
    case 0...2:
      let bytes = range.map { UInt8(truncatingIfNeeded: $0 / 100 + 1) }
      try memory.chain.write(bytes.span, at: GuestOffset(start))
      memory.expected.replaceSubrange(range, with: bytes)
    case 3, 4:
      try memory.chain.zero(GuestRange(range), reserving: Bool.random(using: &random))
      memory.expected.replaceSubrange(range, with: repeatElement(0, count: range.count))
    case 5, 6:
      let base = Bool.random(using: &random) ? memory.layers[2] : nil
      _ = try memory.chain.populate(GuestRange(range), above: base)
    default:
      try memory.chain.flush()
    }
  }

  private func finish(_ memory: inout MemoryChain, _ end: End, _ place: String) throws {
    let base: Layer? =
      switch end {
      case .flattened: nil
      case .keepsBase, .keepsBaseLate: memory.layers[2]
      case .keepsMiddle: memory.layers[1]
      }
    if end == .keepsBaseLate { try memory.chain.stream(above: nil) }
    try memory.chain.stream(above: base)
    try expectSame(memory, "\(place) streamed")
    #expect(try memory.chain.remaining(above: base) == 0)
    let name = base.map { RecordedBacking(name: Array($0.path.utf8), format: $0.image.format) }
    try memory.chain.check(backing: name)
    try memory.chain.complete(recording: name, keeping: base)
    try expectSame(memory, "\(place) completed")
    #expect(memory.middle.isClosed == (end != .keepsMiddle))
    #expect(memory.base.isClosed == (end == .flattened))
    try expectClean(memory, name, place)
  }

  private func expectSame(_ memory: MemoryChain, _ place: String) throws {
    let (found, expected) = (try memory.chain.bytes(in: 0..<memory.expected.count), memory.expected)
    if found == expected { return }
    if let index = found.indices.first(where: { found[$0] != expected[$0] }) {
      Issue.record("\(place): byte \(index) is \(found[index]) and should be \(expected[index])")
    }
  }

  /// The image on its own, as it would be opened next.
  private func expectClean(_ memory: MemoryChain, _ backing: RecordedBacking?, _ place: String) throws {
    try memory.chain.close()
    let image = MemoryStorage(memory.top.content, path: "top.qcow2")
    let header = try Qcow2Header.read(from: image)
    #expect(header.backing == backing, "\(place)")
    let report = try Qcow2Check.run(on: header, in: image)
    #expect(report.isClean, "\(place): \(report.findings)")
  }
}
