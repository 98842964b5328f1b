import HostStorage
import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct TableCacheTests {
  private func table(words: Int = 0) -> L2Table {
    var table = L2Table(words: SparseWords(count: 512), home: HostOffset(0))
    for index in 0..<words { table.words[index] = 1 }
    return table
  }

  private func size(of words: Int) -> Int {
    var cache = TableCache(budget: TableBudget(limit: 0))
    cache.insert(table(words: words), at: 0)
    return cache.bytes
  }

  @Test func whatWasUsedLongestAgoGoesUntilAQuarterIsFree() {
    let size = size(of: 0)
    var cache = TableCache(budget: TableBudget(limit: ByteCount(16 * size)))
    for index in 0..<16 { cache.insert(table(), at: index) }
    _ = cache.use(1)
    cache.shrink()
    #expect((0..<16).allSatisfy { cache[$0] != nil }, "all fit")
    cache.insert(table(), at: 16)
    cache.shrink()
    #expect((0...16).filter { cache[$0] == nil } == [0, 2, 3, 4, 5])
    #expect(cache.bytes == 12 * size)
  }

  @Test func anImageTakesWhatTheOthersLeaveAndKeepsItsShare() {
    let size = size(of: 0)
    let budget = TableBudget(limit: ByteCount(32 * size), images: 2)
    var (one, other) = (TableCache(budget: budget), TableCache(budget: budget))
    func count(_ cache: TableCache) -> Int { (0..<100).count { cache[$0] != nil } }
    func load(_ numbers: Range<Int>, into cache: inout TableCache) {
      for number in numbers {
        cache.insert(table(), at: number)
        cache.shrink()
      }
    }
    load(0..<30, into: &one)
    #expect(count(one) == 30)
    load(0..<16, into: &other)
    #expect(count(other) == 16, "its share, which the other one has taken")
    load(30..<31, into: &one)
    #expect(count(one) == 12 && one.bytes == 12 * size)
    other.close()
    #expect(count(other) == 0)
    load(31..<50, into: &one)
    #expect(count(one) == 31, "what was closed is free")
  }

  @Test func aTableThatAloneIsTooLargeStaysWhileItIsUsed() {
    var cache = TableCache(budget: TableBudget(limit: 0))
    for index in 0..<20 {
      cache.insert(table(words: 512), at: index)
      cache.shrink()
      #expect(cache[index] != nil)
    }
    #expect((0..<20).filter { cache[$0] != nil } == [16, 17, 18, 19], "some stay whatever the limit")
  }

  @Test func whatTheHostHasNotGotStays() {
    var cache = TableCache(budget: TableBudget(limit: 0))
    for index in 0..<30 {
      var table = table()
      switch index % 5 {
      case 0: table.state = .changed
      case 1: table.state = .new
      case 2: table.state = .writing
      default: break
      }
      cache.insert(table, at: index)
      cache.shrink()
    }
    #expect((0..<30).filter { $0 % 5 < 3 }.allSatisfy { cache[$0] != nil })
    #expect((0..<30).filter { $0 % 5 >= 3 && cache[$0] != nil } == [23, 24, 28, 29], "the others, but the last few")
    #expect(cache.bytes == 4 * size(of: 0), "what must stay counts for nothing")
    cache.changeAll { $1.state = .clean }
    cache.shrink()
    #expect((0..<30).count { cache[$0] != nil } == 4)
  }

  @Test(arguments: 0..<20 as Range<UInt64>)
  func theSumIsThatOfTheTables(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var cache = TableCache(budget: TableBudget(limit: 40_000))
    for _ in 0..<1000 {
      let index = Int.random(in: 0..<60, using: &random)
      let words = Int.random(in: 0..<512, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        cache.insert(table(words: words), at: index)
        cache.shrink()
      case 1: if let place = cache.use(index) { cache.change(place) { $0.words[words] = 1 } }
      case 2: cache.change(index) { $0.state = $0.state == .clean ? .changed : .clean }
      default: cache.changeAll { if $0 == index { $1.words[words] = 1 } }
      }
      var anew = TableCache(budget: TableBudget(limit: 0))
      for index in 0..<60 { if let table = cache[index] { anew.insert(table, at: index) } }
      #expect(cache.bytes == anew.bytes, "seed \(seed)")
    }
  }
}
