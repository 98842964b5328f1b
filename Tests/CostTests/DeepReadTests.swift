import TestSupport
import Testing

/// What a read through 128 layers asks of the host.
@Suite(.timeLimit(.minutes(5)))
struct DeepReadTests {
  private static let depth = 128
  private let deep: CostChain

  init() throws { deep = try CostChain(depth: Self.depth) }

  /// Reads 4 KiB of the cluster that layer `holder` has, or of the next one that it has.
  private func calls(holder: Int, next: Bool = false, at offset: Int) throws -> [StorageAction: HostCalls.Sum] {
    let cluster = holder + (next ? Self.depth : 0)
    return try deep.calls.during {
      let page = try deep.chain.page(at: cluster * CostChain.cluster + offset)
      #expect(page == [UInt8](repeating: UInt8(holder + 1), count: 4096))
    }
  }

  @Test(arguments: [0, 1, 63, 127])
  func theFirstReadTakesATableOfEachLayerThatIsAskedAndTheData(holder: Int) throws {
    let cold = try calls(holder: holder, at: 8192)
    let tables = holder + 1
    #expect(cold == [.read: .init(calls: tables + 1, bytes: tables * CostChain.cluster + 4096)])
  }

  @Test(arguments: [0, 1, 63, 127])
  func laterReadsTakeOneReadAtAnyDepth(holder: Int) throws {
    _ = try calls(holder: holder, at: 8192)
    let one: [StorageAction: HostCalls.Sum] = [.read: .init(calls: 1, bytes: 4096)]
    #expect(try calls(holder: holder, at: 8192) == one, "the same place")
    #expect(try calls(holder: holder, at: 40960) == one, "beside it")
    #expect(try calls(holder: holder, next: true, at: 4096) == one, "another cluster of the same tables")
  }

  @Test func deeperLayersAreAskedForTheirTablesOnce() throws {
    _ = try calls(holder: 63, at: 0)
    let deeper = try calls(holder: 127, at: 0)
    #expect(deeper == [.read: .init(calls: 64 + 1, bytes: 64 * CostChain.cluster + 4096)])
  }
}
