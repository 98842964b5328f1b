import Glibc
import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

/// Whose a host cluster is, and where its refcount stands, in images of 512-byte clusters with 64-bit refcounts: a refcount
/// block for 64 clusters.
@Suite struct OwnedClusterTests {
  private static let cluster = 512

  private func image(on storage: MemoryStorage, diskClusters: Int = 64 * 64) throws -> Qcow2ActiveImage {
    if storage.status().size.bytes == 0 {
      var creation = Qcow2Creation(virtualSize: ByteCount(diskClusters * Self.cluster))
      creation.clusterSize = ByteCount(Self.cluster)
      creation.refcountBits = 64
      try creation.write(to: storage)
    }
    return try Qcow2ActiveImage(
      header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil, options: .init())
  }

  private func range(_ cluster: Int, count: Int) -> GuestRange {
    GuestRange(at: GuestOffset(cluster * Self.cluster), count: ByteCount(count * Self.cluster))
  }

  @discardableResult
  private func write(_ image: Qcow2ActiveImage, _ cluster: Int, count: Int = 1) throws -> [WritePlan] {
    var plans: [WritePlan] = []
    var rest = range(cluster, count: count)
    while !rest.isEmpty {
      let plan = try image.prepare(rest)
      try image.dataStorage.write([UInt8](repeating: 7, count: plan.filled.count.bytes).span, at: plan.target)
      if plan.allocates { try image.publish(plan) }
      plans.append(plan)
      rest = GuestRange(from: plan.range.end, to: rest.end)
    }
    return plans
  }

  private func expectClean(_ storage: MemoryStorage) throws {
    let copy = MemoryStorage(storage.content)
    let report = try Qcow2Check.run(on: Qcow2Header.read(from: copy), in: copy)
    #expect(report.isClean, "\(report.findings)")
  }

  /// Two clusters side by side, of which a snapshot shares the second one.
  @Test func aWriteInPlaceEndsWhereASharedClusterBegins() throws {
    let storage = MemoryStorage()
    let before = try image(on: storage)
    try write(before, 0, count: 3)
    try before.finish()
    // A snapshot that has only the second cluster: its refcount is 2, and it is not its owner's alone any more.
    let header = before.header
    func words(at offset: HostOffset) throws -> [UInt64] {
      let bytes = try storage.bytes(ByteCount(Self.cluster), at: offset)
      return BigEndian.words(in: bytes.span)
    }
    func put(_ word: UInt64, at offset: Int) throws {
      try storage.write(BigEndian.bytes(of: [word][...]), at: offset)
    }
    let l2 = HostOffset(Int(try words(at: header.l1Offset)[0] & L2Entry.Bits.offset))
    let shared = Int(try words(at: l2)[1] & L2Entry.Bits.offset)
    try put(UInt64(shared), at: l2.bytes + 8)
    let (block, index) = (shared / Self.cluster).quotientAndRemainder(dividingBy: 64)
    try put(2, at: Int(try words(at: header.refcountTableOffset)[block]) + index * 8)

    let image = try image(on: storage)
    let plan = try #require(try image.planInPlace(range(0, count: 3)))
    #expect(plan.range == range(0, count: 1))
    #expect(try image.planInPlace(range(1, count: 2)) == nil)
    storage.forgetLog()
    let plans = try write(image, 0, count: 3)
    #expect(plans.map(\.range) == [range(0, count: 1), range(1, count: 1), range(2, count: 1)])
    let isOverwritten = storage.log.contains { $0.range.overlaps(shared..<(shared + Self.cluster)) }
    #expect(!isOverwritten, "what the snapshot has was overwritten")
  }

  /// More blocks are changed than are kept while they are clean, and none is durable yet.
  @Test func changedRefcountBlocksStayHoweverManyTheyAre() throws {
    let storage = MemoryStorage()
    let image = try image(on: storage, diskClusters: 64 * 128)
    try write(image, 0, count: 64 * 70)
    let blocks = image.refcounts.state.withLock { $0.blocks.count }
    #expect(blocks > Refcounts.cachedBlocks)
    try image.flush()
    // Dropped all over, so that the release loads every block and changes a count in it.
    image.refcounts.state.withLock { state in state.blocks = state.blocks.filter { $0.value.state != .clean } }
    for cluster in stride(from: 0, to: 64 * 70, by: 32) {
      _ = try image.zero(range(cluster, count: 1), reserving: false, hiding: true)
    }
    try image.finish()
    try expectClean(storage)
  }

  /// While a flush writes blocks, others are looked at, more than are kept.
  @Test func aRefcountBlockThatIsBeingWrittenStays() throws {
    let storage = MemoryStorage()
    let filled = try image(on: storage, diskClusters: 64 * 256)
    try write(filled, 0, count: 64 * 200)
    try filled.finish()
    let image = try image(on: storage)
    try write(image, 64 * 201)
    let counts = image.refcounts
    let frozen = counts.freeze()
    #expect(!frozen.blocks.isEmpty)
    for block in 0..<200 { _ = try counts.count(ofClusterAt: HostOffset(block * 64 * Self.cluster)) }
    let kept = counts.state.withLock { state in frozen.blocks.allSatisfy { state.blocks[$0.index] != nil } }
    #expect(kept)
    counts.restore(frozen)
    try image.finish()
    try expectClean(storage)
  }

  /// The mapping that dropped the clusters is durable, so the sync is; and nothing is leaked when the host can be read again.
  @Test func aRefcountThatCannotBeReadFailsNoSyncAndLeaksNothing() throws {
    let storage = MemoryStorage()
    let filled = try image(on: storage)
    try write(filled, 0, count: 64 * 60)
    try filled.finish()
    for nth in 1... {
      let storage = MemoryStorage(storage.content)
      let image = try image(on: storage)
      for cluster in stride(from: 0, to: 64 * 60, by: 64) {
        _ = try image.zero(range(cluster, count: 1), reserving: false, hiding: true)
      }
      // Blocks that opening has looked at are let go, so that the release has to read them.
      image.refcounts.state.withLock { state in state.blocks = state.blocks.filter { $0.value.state != .clean } }
      storage.setFaults(FaultPlan([.read], nth: nth, errno: EIO))
      try image.flush()
      let failures = storage.faults?.failures ?? 0
      storage.setFaults(nil)
      try image.finish()
      try expectClean(storage)
      if failures == 0 { break }
      #expect(nth < 100)
    }
  }

  /// What is left in quarantine at the end was no loss, and is told.
  @Test func anEndingThatLeaksSaysSo() throws {
    let storage = MemoryStorage()
    let filled = try image(on: storage)
    try write(filled, 0, count: 64)
    try filled.finish()
    let image = try image(on: storage)
    _ = try image.zero(range(0, count: 64), reserving: false, hiding: true)
    image.refcounts.state.withLock { state in state.blocks = state.blocks.filter { $0.value.state != .clean } }
    storage.setFaults(FaultPlan([.read], nth: 1, errno: EIO, forEver: true))
    #expect(throws: ImageError.self) { try image.finish() }
    storage.setFaults(nil)
    let copy = MemoryStorage(storage.content)
    #expect(try Qcow2Check.run(on: Qcow2Header.read(from: copy), in: copy).errors == 0)
  }
}
