import BackingChain
import HostStorage
import ImageFormat
import StreamJob
import TestSupport
import Testing

/// What goes to the active layer's file.
@Suite(.timeLimit(.minutes(5)))
struct WritingTests {
  private static let size = 32 << 20

  /// Where five seconds pass, the chain flushes by itself once more.
  private func expect(_ cost: HostCost, isWithin recorded: HostCost) {
    let comment: Comment = "measured \(cost)"
    #expect(cost.writes <= recorded.writes + 4, comment)
    #expect(cost.overhead <= 2 * recorded.overhead, comment)
    #expect(cost.syncs <= recorded.syncs + 3, comment)
  }

  @Test func copyingCostsHardlyMoreThanTheData() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.file("base.raw", [UInt8](repeating: 0x5A, count: Self.size))
    let top = try CostChain(over: FileStorage.open(path, readOnly: true))
    let cost = top.calls.cost(ofBringing: Self.size) {
      #expect(top.chain.streamToTheEnd().state == .completed)
    }
    #expect(top.calls[.clone].calls == 0)
    expect(cost, isWithin: RecordedCosts.copied)
    try top.chain.close()
  }

  @Test func sharingBlocksCostsOnlyTables() throws {
    let base = MemoryStorage([UInt8](repeating: 0x5A, count: Self.size), path: "base.raw", readOnly: true)
    let top = try CostChain(over: base)
    let cost = top.calls.cost(ofBringing: Self.size) {
      #expect(top.chain.streamToTheEnd().state == .completed)
    }
    #expect(top.calls[.clone].bytes == Self.size)
    expect(cost, isWithin: RecordedCosts.shared)
    try top.chain.close()
  }

  @Test func whatAWriteAndItsFlushCost() throws {
    let base = MemoryStorage([UInt8](repeating: 0x5A, count: 1 << 20), path: "base.raw", readOnly: true)
    let top = try CostChain(over: base)
    let page = [UInt8](repeating: 1, count: 4096)
    func write(at offset: Int) throws -> HostCost {
      try top.calls.cost(ofBringing: 4096) {
        try top.chain.write(page.span, at: GuestOffset(offset))
        try top.chain.flush()
      }
    }
    // The first one makes the L2 table.
    _ = try write(at: 0)
    for cluster in 1...8 {
      let allocating = try write(at: cluster * CostChain.cluster + 8192)
      let inPlace = try write(at: cluster * CostChain.cluster + 16384)
      #expect(allocating == RecordedCosts.syncedAllocating, "measured \(allocating)")
      #expect(inPlace == RecordedCosts.syncedInPlace, "measured \(inPlace)")
    }
    try top.chain.close()
  }
}
