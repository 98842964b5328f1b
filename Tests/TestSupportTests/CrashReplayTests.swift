import HostStorage
import TestSupport
import Testing

@Suite struct CrashReplayTests {
  let one = [UInt8](repeating: 1, count: 512)
  let two = [UInt8](repeating: 2, count: 512)
  let zero = [UInt8](repeating: 0, count: 512)

  /// The contents that a crash at `position` (default: after the whole log) may leave.
  func contents(
    _ initial: [UInt8], _ log: [StorageOperation], at position: Int? = nil, limit: Int = 10_000, seed: UInt64 = 1
  ) -> Set<[UInt8]> {
    var found = Set<[UInt8]>()
    CrashReplay(initial: SparseBytes(initial), log: log).states(limit: limit, seed: seed) { state in
      if state.position == position ?? log.count { found.insert(state.storage.content.bytes) }
    }
    return found
  }

  @Test func aWriteIsThereOrNotOrTornAtItsSectors() {
    #expect(contents(zero + zero, [.write(one + one, at: 0)]) == [zero + zero, one + zero, zero + one, one + one])
  }

  @Test func aWriteIsNeverTornInsideASector() {
    let found = contents(zero + zero, [.write([7, 8], at: 511)])
    #expect(found.count == 4)
    #expect(found.allSatisfy { [0, 7].contains($0[511]) && [0, 8].contains($0[512]) })
    #expect(contents(zero, [.write([7, 8], at: 100)]).count == 2)
  }

  @Test func aSyncedWriteIsNeverLost() {
    #expect(contents(zero, [.write(one, at: 0), .sync]) == [one])
    let later = contents(zero, [.write(one, at: 0), .sync, .write(two, at: 0)])
    #expect(later == [one, two])
  }

  @Test func aLaterWriteMaySurviveAnEarlierOne() {
    let found = contents(zero + zero, [.write(one, at: 0), .write(two, at: 512)])
    #expect(found.contains(zero + two))
    #expect(found.count == 4)
  }

  @Test func twoWritesToOneSectorKeepTheirOrder() {
    let log: [StorageOperation] = [.write([7], at: 0), .write([8], at: 1)]
    let beginnings = Set(contents(zero, log).map { Array($0[..<2]) })
    #expect(beginnings == [[0, 0], [7, 0], [7, 8]])
  }

  @Test func theSizeIsOldOrNew() {
    let found = contents(one, [.write(two, at: 512)])
    #expect(found == [one, one + zero, one + two])
    #expect(contents(one, [.reserve(0..<1024)]) == [one, one + zero])
    #expect(contents(one + two, [.resize(to: 512)]) == [one + two, one, one + zero])
  }

  @Test func punchedAndZeroedSectorsAreOldOrZero() {
    #expect(contents(one, [.punch(0..<512)]) == [one, zero])
    #expect(contents(one + one, [.zero(0..<1024)]).count == 4)
  }

  @Test func everyPositionIsVisitedInOrder() {
    let log: [StorageOperation] = [.write(one, at: 0), .sync, .write(two, at: 0), .sync]
    var positions: [Int] = []
    CrashReplay(initial: SparseBytes(zero), log: log).states(limit: 1, seed: 1) { positions.append($0.position) }
    #expect(positions == [0, 1, 2, 3, 4])
    #expect(contents(zero, log, at: 2) == [one])
  }

  @Test func ofManyStatesASeededChoiceIsShown() {
    let log = (0..<64).map { StorageOperation.write([1], at: $0 * 512) } + [.write([2], at: 0)]
    let initial = [UInt8](repeating: 0, count: 64 * 512)
    let found = contents(initial, log, limit: 66 * 40, seed: 7)
    #expect(found == contents(initial, log, limit: 66 * 40, seed: 7))
    #expect(found != contents(initial, log, limit: 66 * 40, seed: 8))
    #expect(found.contains(initial))
    #expect(found.contains { $0.filter { $0 == 1 }.count == 63 && $0[0] == 2 })
    #expect(found.count > 20)
  }

  /// A journal that forgets the sync before its commit record is found out.
  @Test func aMissingBarrierShows() {
    func commitsEarly(_ log: [StorageOperation]) -> Bool {
      contents(zero + zero, log).contains { $0[512] == 2 && $0[0] != 1 }
    }
    #expect(commitsEarly([.write(one, at: 0), .write(two, at: 512)]))
    #expect(!commitsEarly([.write(one, at: 0), .sync, .write(two, at: 512)]))
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func theOracleAgreesWithARawDisk(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let disk = [UInt8](repeating: 0, count: 4096)
    let storage = MemoryStorage(disk)
    var oracle = SectorOracle(disk)
    for _ in 0..<12 {
      if random.oneIn(4) {
        try storage.sync()
        oracle.didFlush(position: storage.position)
      } else {
        let range = random.range(below: 4096, longest: 1500)
        let bytes = random.bytes(count: range.count)
        oracle.willWrite(bytes, at: range.lowerBound, position: storage.position)
        try storage.write(bytes, at: range.lowerBound)
      }
    }
    CrashReplay(initial: SparseBytes(disk), log: storage.log).states(limit: 500, seed: seed) { state in
      let violation = oracle.violation(in: state.storage.content.bytes, at: state.position)
      #expect(violation == nil, "seed \(seed), \(state.storage.path)")
    }
  }

  @Test func theOracleFindsALostFlush() throws {
    var oracle = SectorOracle(zero)
    oracle.willWrite([7], at: 0, position: 0)
    oracle.didFlush(position: 1)
    #expect(oracle.violation(in: zero, at: 0) == nil)
    #expect(oracle.violation(in: zero, at: 1)?.sector == 0)
  }
}
