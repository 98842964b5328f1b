import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import BackingChain

/// What lies below is looked up once, and told the same ever after.
@Suite struct BelowMapTests {
  private static let size = 3 * BelowMap.region.bytes

  /// Runs that begin anywhere: what a chain below has at each offset.
  private static func runs(_ random: inout SeededRandom) -> [BelowMap.Answer] {
    var answers: [BelowMap.Answer] = []
    var position = GuestOffset(0)
    while position.bytes < size {
      let count = min(Int.random(in: 1...400_000, using: &random), size - position.bytes)
      let mapping: Mapping =
        switch Int.random(in: 0..<4, using: &random) {
        case 0: .unallocated
        case 1: .zero(reserved: false)
        case 2: .data(at: HostOffset(Int.random(in: 0..<1 << 40, using: &random)))
        default: .compressed(CompressedCluster(at: HostOffset(answers.count), size: 100), skip: 7)
        }
      let range = GuestRange(at: position, count: ByteCount(count))
      answers.append(BelowMap.Answer(range: range, mapping: mapping, layer: answers.count % 5 + 1))
      position = range.end
    }
    return answers
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>) func everyAnswerIsWhatTheLayersSay(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let runs = Self.runs(&random)
    let map = BelowMap()
    for _ in 0..<4000 {
      let offset = GuestOffset(Int.random(in: 0..<Self.size, using: &random))
      let found = try map.answer(at: offset) { range in
        let run = runs.first { range.start < $0.range.end }?.from(range.start)
        return BelowMap.Answer(
          range: range.clamped(to: run?.range ?? range), mapping: run?.mapping ?? .unallocated, layer: run?.layer ?? 0)
      }
      let run = try #require(runs.first { offset < $0.range.end }).from(offset)
      #expect(found.range.start == offset && found.range.count > 0 && found.range.end <= run.range.end, "seed \(seed)")
      #expect(found.mapping == run.mapping && found.layer == run.layer, "seed \(seed) at \(offset)")
    }
  }

  @Test func aRunIsWorkedOutOnce() throws {
    let map = BelowMap()
    var asked = 0
    for offset in [0, 70_000, 5, 131_071, 100_000] {
      _ = try map.answer(at: GuestOffset(offset)) { range in
        asked += 1
        return BelowMap.Answer(
          range: range.clamped(to: GuestRange(at: range.start, count: 131_072)), mapping: .unallocated, layer: 1)
      }
    }
    #expect(asked == 1)
  }

  /// Each answer is for `count` bytes. Returns how many had to be worked out.
  private func ask(_ map: BelowMap, every count: ByteCount, of disk: ByteCount) throws -> Int {
    var asked = 0
    for offset in stride(from: 0, to: disk.bytes, by: count.bytes) {
      _ = try map.answer(at: GuestOffset(offset)) { range in
        asked += 1
        let part = GuestRange(at: range.start, count: count)
        return BelowMap.Answer(range: part, mapping: .data(at: HostOffset(2 * offset)), layer: 1)
      }
    }
    return asked
  }

  @Test func allClustersOfASmallDiskAreKnown() throws {
    let map = BelowMap()
    #expect(try ask(map, every: 65536, of: ByteCount(4 << 30)) == 65536)
    #expect(try ask(map, every: 65536, of: ByteCount(4 << 30)) == 0)
  }

  @Test func ofALargeDiskThatIsEmptyOnlyAPartIsKnown() throws {
    let map = BelowMap()
    let (disk, part) = (ByteCount(400 << 30), ByteCount(64 << 30))
    _ = try ask(map, every: BelowMap.region, of: part)
    #expect(try ask(map, every: BelowMap.region, of: part) == 0)
    _ = try ask(map, every: BelowMap.region, of: disk)
    #expect(try ask(map, every: BelowMap.region, of: part) == part.bytes / BelowMap.region.bytes)
  }

  @Test func whatFailedIsAskedAgain() throws {
    let map = BelowMap()
    let failure = ChainError(.readOnly, path: "base", message: "unreadable")
    #expect(throws: ChainError.self) {
      try map.answer(at: GuestOffset(0)) { _ throws(ChainError) in throw failure }
    }
    let answer = try map.answer(at: GuestOffset(0)) { BelowMap.Answer(range: $0, mapping: .unallocated, layer: 1) }
    #expect(answer.range.count == BelowMap.region)
  }
}
