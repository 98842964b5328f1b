import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct SparseWordsTests {
  /// Tables of clusters of 512 bytes, 4 KiB and 2 MiB, and what is left of one that is cut off.
  static let counts = [64, 512, 262_144, 100, 1]

  /// Words of which one in `rarity` is not 0.
  private func words(_ count: Int, oneIn rarity: Int, using random: inout SeededRandom) -> [UInt64] {
    (0..<count).map { _ in random.oneIn(rarity) ? random.next() : 0 }
  }

  private func expectEqual(_ sparse: SparseWords, _ plain: [UInt64], _ comment: Comment) {
    #expect(sparse.count == plain.count, comment)
    #expect((0..<plain.count).allSatisfy { sparse[$0] == plain[$0] }, comment)
    #expect(Array(sparse[0..<plain.count]) == plain, comment)
  }

  @Test(arguments: counts, [1, 2, 50, 5000])
  func aTableIsWhatWasPutIn(count: Int, rarity: Int) {
    var random = SeededRandom(seed: UInt64(count + rarity))
    let plain = words(count, oneIn: rarity, using: &random)
    let sparse = SparseWords(plain)
    expectEqual(sparse, plain, "seed \(count + rarity)")
    for _ in 0..<20 {
      let range = random.range(below: count, longest: count)
      #expect(Array(sparse[range]) == Array(plain[range]), "\(range)")
      let next = plain[range.lowerBound...].firstIndex { $0 != 0 } ?? count
      #expect(sparse.nextStored(from: range.lowerBound) == next)
    }
    #expect(sparse.nextStored(from: count) == count)
    #expect(sparse[count..<count].isEmpty)
  }

  @Test(arguments: counts, 0..<8 as Range<UInt64>)
  func wordsChangeAsInAPlainArray(count: Int, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var plain = words(count, oneIn: 40, using: &random)
    var sparse = SparseWords(plain)
    for step in 0..<200 {
      let range = random.range(below: count, longest: 90)
      for index in range {
        let word = random.oneIn(3) ? 0 : random.next()
        plain[index] = word
        sparse[index] = word
      }
      let probe = Int.random(in: 0..<count, using: &random)
      #expect(sparse[probe] == plain[probe], "seed \(seed), step \(step)")
      // A word that became 0 may stay stored, another one may not.
      let next = sparse.nextStored(from: probe)
      #expect(plain[probe..<next].allSatisfy { $0 == 0 }, "seed \(seed), step \(step)")
    }
    expectEqual(sparse, plain, "seed \(seed)")
  }

  @Test func aCopyKeepsWhatItWas() {
    var words = SparseWords(count: 128)
    words[3] = 7
    let copy = words
    words[2] = 5
    words[3] = 8
    #expect(copy[2] == 0 && copy[3] == 7 && words[2] == 5 && words[3] == 8)
  }

  @Test func anEmptyTableIsSmallAndAFullOneHardlyLargerThanItsWords() {
    var words = SparseWords(count: 8192)
    #expect(words.bytes < 2200)
    words[5000] = 0
    #expect(words.nextStored(from: 0) == 8192, "a word that was 0 is not stored for being set to 0")
    for index in (0..<8192).reversed() { words[index] = 1 }
    #expect(words.bytes < 65536 + 4096)
  }
}
