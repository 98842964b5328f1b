import Foundation
import HostStorage
import Synchronization
import TestSupport
import Testing

@Suite struct MemoryStorageTests {
  @Test(arguments: StorageClause.all) func keepsTheContract(_ clause: StorageClause) throws {
    try clause.check(MemoryStorage())
  }

  @Test func theLogHoldsEveryChangeWithItsBytes() throws {
    let storage = MemoryStorage([1, 2, 3])
    try storage.write([9], at: 1)
    _ = try storage.bytes(count: 3)
    try storage.zero(HostRange(0..<1))
    try storage.punch(HostRange(0..<2))
    try storage.reserve(HostRange(0..<8))
    try storage.resize(to: 4)
    try storage.sync()
    #expect(
      storage.log == [
        .write([9], at: 1), .zero(0..<1), .punch(0..<2), .reserve(0..<8), .resize(to: 4), .sync,
      ])
    #expect(storage.content.bytes == [0, 0, 3, 0])
  }

  @Test func theNthCallFailsAndChangesNothing() throws {
    let storage = MemoryStorage()
    storage.setFaults(FaultPlan([.write], nth: 2, errno: ENOSPC))
    try storage.write([1], at: 0)
    let error = #expect(throws: StorageError.self) { try storage.write([2], at: 0) }
    #expect(error == StorageError(errno: ENOSPC, operation: "write", path: "memory", offset: HostOffset(0)))
    #expect(storage.content.bytes == [1])
    #expect(storage.log == [.write([1], at: 0)])
    try storage.write([3], at: 0)
  }

  @Test func aCallThatFallsShortDoesItsFirstHalf() throws {
    let storage = MemoryStorage([UInt8](repeating: 1, count: 2048))
    let fault = FaultPlan.Fault(errno: ENOSPC, fallsShort: true)
    storage.setFaults(FaultPlan([.write], nth: 1, fault: fault))
    #expect(throws: StorageError.self) { try storage.write([UInt8](repeating: 2, count: 1600), at: 100) }
    #expect(storage.content.bytes.lastIndex(of: 2) == 511)
    storage.setFaults(FaultPlan([.read], nth: 1, fault: fault))
    #expect(try storage.bytes(count: 2048).count == 1024)
  }

  @Test func aFaultForEverStays() throws {
    let storage = MemoryStorage([1])
    storage.setFaults(FaultPlan([.read], nth: 2, forEver: true))
    _ = try storage.bytes(count: 1)
    for _ in 0..<3 { #expect(throws: StorageError.self) { try storage.bytes(count: 1) } }
  }

  @Test func randomFaultsAreTheSameForTheSameSeed() {
    func outcome(seed: UInt64) -> [Bool] {
      let storage = MemoryStorage()
      storage.setFaults(FaultPlan(.changes, oneIn: 3, seed: seed))
      return (0..<64).map { (try? storage.write([1], at: $0)) == nil }
    }
    #expect(outcome(seed: 1) == outcome(seed: 1))
    #expect(outcome(seed: 1) != outcome(seed: 2))
    #expect(Set(outcome(seed: 1)) == [true, false])
  }

  @Test func aFailedSyncFailsForEverAndIsNoBarrier() throws {
    let storage = MemoryStorage()
    storage.setFaults(FaultPlan([.sync], nth: 1, errno: ENOSPC))
    for _ in 0..<2 {
      let error = #expect(throws: StorageError.self) { try storage.sync() }
      #expect(error?.code == .syncLost && error?.errno == ENOSPC)
      storage.setFaults(nil)
    }
    #expect(storage.log.isEmpty)
  }

  @Test func hostSpaceRunsOutAndComesBack() throws {
    let storage = MemoryStorage()
    storage.setCapacity(8192)
    try storage.reserve(HostRange(0..<8192))
    let error = #expect(throws: StorageError.self) { try storage.write([1], at: 8192) }
    #expect(error?.errno == ENOSPC)
    try storage.write([1], at: 4096)
    try storage.punch(HostRange(0..<4096))
    #expect(storage.space().free == 4096)
    try storage.write([1], at: 8192)
  }

  @Test func aReadOnlyStorageTakesNoChange() throws {
    let storage = MemoryStorage([1], readOnly: true)
    #expect(throws: StorageError.self) { try storage.write([2], at: 0) }
    #expect(throws: StorageError.self) { try storage.punch(HostRange(0..<1)) }
    #expect(storage.content.bytes == [1])
  }

  @Test func theHookStopsACallUntilTheTestLetsItGo() throws {
    let storage = MemoryStorage()
    let gate = Monitor(false)
    storage.setHook { action, range in
      if action == .write && range.start.bytes == 7 { gate.wait { $0 ? () : nil } }
    }
    let thread = try HostThread.start(name: "writer") { try? storage.write([1], at: 7) }
    try storage.write([2], at: 0)
    #expect(storage.log == [.write([2], at: 0)])
    gate.withLock { $0 = true }
    thread.join()
    #expect(storage.log.count == 2)
  }

  @Test func afterCloseNothingGoes() throws {
    let storage = MemoryStorage([1])
    storage.close()
    let error = #expect(throws: StorageError.self) { try storage.bytes(count: 1) }
    #expect(error?.errno == EBADF)
  }
}

@Suite struct SparseBytesTests {
  @Test(arguments: 0..<40 as Range<UInt64>) func agreesWithAnArray(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var sparse = SparseBytes()
    var plain: [UInt8] = []
    func grow(to size: Int) { if plain.count < size { plain += [UInt8](repeating: 0, count: size - plain.count) } }
    for _ in 0..<60 {
      let range = random.range(below: 20_000, longest: 9000)
      switch Int.random(in: 0..<5, using: &random) {
      case 0, 1:
        let bytes = random.bytes(count: range.count)
        sparse.write(bytes[...], at: range.lowerBound)
        grow(to: range.upperBound)
        plain.replaceSubrange(range, with: bytes)
      case 2:
        sparse.zero(range)
        grow(to: range.upperBound)
        plain.replaceSubrange(range, with: repeatElement(0, count: range.count))
      case 3:
        sparse.punch(range)
        let inside = range.clamped(to: 0..<plain.count)
        plain.replaceSubrange(inside, with: repeatElement(0, count: inside.count))
      default:
        sparse.resize(to: range.lowerBound)
        grow(to: range.lowerBound)
        plain.removeLast(plain.count - range.lowerBound)
      }
      #expect(sparse.bytes == plain, "seed \(seed)")
    }
  }

  @Test func aTerabyteOfHolesCostsNothing() {
    var sparse = SparseBytes(size: 1 << 40)
    sparse.write([1], at: 1 << 39)
    sparse.punch(0..<(1 << 40))
    #expect(sparse.allocated == 0)
    #expect(sparse.extent(at: 0, limit: 4096) == StorageExtent(.hole, count: 4096))
  }
}
