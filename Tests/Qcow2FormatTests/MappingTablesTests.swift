import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

/// The mapping of an image of 64 tables with 64 entries each, in clusters of 512 bytes.
@Suite struct MappingTablesTests {
  private static let cluster = 512
  private static let reach = 64 * cluster

  /// A table each for the guest's first `count` ones; `entries` says what is in them.
  private func tables(
    _ count: Int = 64, on storage: MemoryStorage = MemoryStorage(),
    entries: (_ table: Int) -> [Int: UInt64]
  ) throws -> MappingTables {
    var creation = Qcow2Creation(virtualSize: ByteCount(64 * Self.reach))
    creation.clusterSize = ByteCount(Self.cluster)
    try creation.write(to: storage)
    let header = try Qcow2Header.read(from: storage)
    let end = storage.status().size.bytes
    for table in 0..<count {
      let home = end + table * Self.cluster
      var words = [UInt64](repeating: 0, count: 64)
      for (index, word) in entries(table) { words[index] = word }
      try storage.write(BigEndian.bytes(of: words[...]), at: home)
      let entry = [UInt64(home) | L2Entry.Bits.copied]
      try storage.write(BigEndian.bytes(of: entry[...]), at: header.l1Offset.bytes + table * 8)
    }
    return try MappingTables(header: header, storage: storage, budget: TableBudget(limit: 0))
  }

  private func data(_ cluster: Int) -> UInt64 { UInt64(cluster * Self.cluster) | L2Entry.Bits.copied }

  private func run(_ tables: MappingTables, from cluster: Int, table: Int = 0) throws -> Run {
    let offset = GuestOffset(table * Self.reach + cluster * Self.cluster)
    return try tables.run(at: offset, limit: ByteCount(1 << 20))
  }

  @Test func whatIsNotAllocatedIsOneRunToTheNextEntryOrTheEndOfTheTable() throws {
    let tables = try tables(2) { $0 == 0 ? [40: data(1000), 41: 0, 43: data(2000)] : [:] }
    #expect(try run(tables, from: 3) == Run(.unallocated, count: ByteCount(37 * Self.cluster)))
    #expect(try run(tables, from: 39) == Run(.unallocated, count: ByteCount(Self.cluster)))
    #expect(try run(tables, from: 41) == Run(.unallocated, count: ByteCount(2 * Self.cluster)))
    #expect(try run(tables, from: 44) == Run(.unallocated, count: ByteCount(20 * Self.cluster)))
    #expect(try run(tables, from: 0, table: 1) == Run(.unallocated, count: ByteCount(Self.reach)))
    #expect(try run(tables, from: 9, table: 2) == Run(.unallocated, count: ByteCount(55 * Self.cluster)), "no table")
    let within = try tables.run(at: GuestOffset(3 * Self.cluster + 100), limit: ByteCount(600))
    #expect(within == Run(.unallocated, count: 600))
  }

  @Test func aDamagedEntryFailsByItselfAndEndsTheRunBeforeIt() throws {
    let tables = try tables(1) { _ in [20: data(1000), 21: 2, 22: data(1002), 50: 2] }
    #expect(try run(tables, from: 0).count == ByteCount(20 * Self.cluster))
    #expect(try run(tables, from: 20).count == ByteCount(Self.cluster))
    #expect(throws: ImageError.self) { try run(tables, from: 21) }
    #expect(try run(tables, from: 22).count == ByteCount(Self.cluster))
    #expect(try run(tables, from: 23) == Run(.unallocated, count: ByteCount(27 * Self.cluster)))
    #expect(throws: ImageError.self) { try run(tables, from: 50) }
    #expect(try run(tables, from: 51).count == ByteCount(13 * Self.cluster))
  }

  /// A change that was dropped with its table would be found missing by the next look-up.
  @Test func changesOutlastAMemoryThatIsTooSmallForThem() throws {
    let storage = MemoryStorage()
    let tables = try tables(on: storage) { [$0: data(1000 + $0)] }
    var bases = [Int](repeating: 0, count: 64)
    func expectChanges() throws {
      for table in 0..<64 {
        let first = try run(tables, from: 63 - table, table: table)
        #expect(first.mapping == .data(at: HostOffset((bases[table] + table) * Self.cluster)), "table \(table)")
      }
    }
    func change(_ base: Int, every step: Int) throws {
      for table in stride(from: 0, to: 64, by: step) {
        bases[table] = base
        let offset = GuestOffset(table * Self.reach + (63 - table) * Self.cluster)
        try tables.update(clusters: 1, at: offset) { _, _ in (L2Entry(word: data(base + table), bitmap: 0), nil) }
      }
    }
    func held() -> Int { tables.state.read { state in (0..<64).count { state.tables[$0] != nil } } }

    try change(2000, every: 1)
    #expect(held() == 64)
    let failed = tables.freeze()
    #expect(failed.tables.count == 64 && failed.tables.allSatisfy { $0.changed.count == 1 })
    try change(3000, every: 2)
    try expectChanges()
    tables.restore(failed)
    try expectChanges()
    #expect(held() == 64)

    let epoch = tables.freeze()
    try expectChanges()
    #expect(held() == 64)
    for table in epoch.tables {
      let words = table.words[table.changed]
      let bytes = BigEndian.bytes(of: words)
      try storage.write(bytes.span, at: table.home + ByteCount(table.changed.lowerBound * 8))
    }
    tables.thaw(epoch)
    #expect(held() == 4)
    try expectChanges()
    #expect(held() == 4)
  }

  /// A change is kept through a flush that fails, beside one that came meanwhile.
  @Test func changesOfAFailedFlushAndLaterOnesAreWrittenTogether() throws {
    let tables = try tables(1) { _ in [:] }
    func change(_ cluster: Int) throws {
      try tables.update(clusters: 1, at: GuestOffset(cluster * Self.cluster)) { _, _ in
        (L2Entry(word: data(1000 + cluster), bitmap: 0), nil)
      }
    }
    try change(9)
    let failed = tables.freeze()
    try change(5)
    tables.restore(failed)
    let table = try #require(tables.freeze().tables.first)
    #expect(table.changed == 5..<10)
    #expect(table.words[5] == data(1005) && table.words[9] == data(1009) && table.words[7] == 0)
  }

  @Test func whatAFlushIsWritingStaysUntilItHas() throws {
    let tables = try tables { [$0: data(1000 + $0)] }
    for table in 0..<10 {
      try tables.update(clusters: 1, at: GuestOffset(table * Self.reach)) { _, _ in
        (L2Entry(word: data(2000 + table), bitmap: 0), nil)
      }
    }
    let epoch = tables.freeze()
    for table in 10..<64 { _ = try run(tables, from: 0, table: table) }
    for table in 0..<10 {
      #expect(try run(tables, from: 0, table: table).mapping == .data(at: HostOffset((2000 + table) * Self.cluster)))
    }
    tables.thaw(epoch)
  }

  @Test func anImageThatIsLetGoGivesItsMemoryBack() throws {
    let budget = TableBudget(limit: 0)
    let storage = MemoryStorage()
    _ = try tables(on: storage) { [$0: data(1000)] }
    var own: MappingTables? = try MappingTables(header: .read(from: storage), storage: storage, budget: budget)
    _ = try own.map { try run($0, from: 0) }
    #expect(budget.isExceeded)
    own = nil
    #expect(!budget.isExceeded)
  }
}
