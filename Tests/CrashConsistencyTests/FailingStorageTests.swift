import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Fails the Nth call of the active image's storage, for every N: what was asked fails or has its whole effect, nothing traps,
/// and when the fault is gone everything goes on.
@Suite struct FailingStorageTests {
  static let faults: [(actions: Set<StorageAction>, errno: Int32)] = [
    ([.write], 5), ([.write], 28), ([.read], 5), ([.reserve], 28), ([.punch, .zero], 5), ([.resize], 28),
  ]

  @Test(arguments: faults.indices, CrashGeometry.all.indices)
  func everyFaultIsReportedAndPoisonsNothing(_ fault: Int, _ geometry: Int) throws {
    let (actions, errno) = Self.faults[fault]
    for nth in 1...200 {
      let run = try FaultedRun(CrashGeometry.all[geometry])
      run.storage.setFaults(FaultPlan(actions, nth: nth, errno: errno))
      let failures = try run.program()
      run.storage.setFaults(nil)
      try run.expectWhole("\(CrashGeometry.all[geometry]) \(actions) \(errno), call \(nth)")
      // No call was left to fail: every one has had its turn.
      if failures == 0 && nth > 1 { return }
    }
  }

  @Test func aFailedSyncIsFinal() throws {
    let run = try FaultedRun(CrashGeometry())
    try run.write(5000, at: 1000)
    run.storage.setFaults(FaultPlan([.sync], nth: 1))
    #expect(throws: ChainError.self) { try run.chain.flush() }
    run.storage.setFaults(nil)
    try run.write(5000, at: 50_000)
    #expect(throws: ChainError.self) { try run.chain.flush() }
    #expect(run.chain.isDurabilityLost)
    #expect(throws: ChainError.self) { try run.chain.complete(recording: nil, keeping: nil) }
    #expect(try run.chain.wholeDisk() == run.expected)
  }
}

/// A chain whose active image's storage fails, and what its guest must read.
private final class FaultedRun {
  let storage: MemoryStorage
  let chain: BackingChain
  private(set) var expected: [UInt8]
  private let size: Int

  init(_ geometry: CrashGeometry) throws {
    storage = MemoryStorage(try geometry.image(), path: "top.qcow2")
    chain = try CrashProgram.chain(active: storage, base: SparseBytes(geometry.baseBytes(seed: 3)))
    expected = try chain.wholeDisk()
    size = geometry.diskSize
  }

  /// Does everything once; what failed is tried again, when the fault, which comes once, is gone. Returns how many failed.
  func program() throws -> Int {
    let steps: [() throws -> Void] = [
      { try self.write(9000, at: 700) }, { try self.chain.flush() }, { try self.zero(6000, at: 3000) },
      { _ = try self.chain.populate(GuestRange(at: GuestOffset(0), count: ByteCount(self.size)), above: nil) },
      { try self.write(3000, at: 4096) }, { try self.chain.flush() }, { try self.write(512, at: self.size - 512) },
      { try self.zero(self.size / 2, at: 0) }, { try self.chain.flush() },
    ]
    var failures = 0
    for step in steps {
      do {
        try step()
      } catch is ChainError {
        failures += 1
        try step()
      }
    }
    return failures
  }

  func write(_ count: Int, at offset: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: ($0 + offset) / 512 + 1) }
    try chain.write(bytes.span, at: GuestOffset(offset))
    expected.replaceSubrange(offset..<(offset + count), with: bytes)
  }

  private func zero(_ count: Int, at offset: Int) throws {
    try chain.zero(GuestRange(at: GuestOffset(offset), count: ByteCount(count)), reserving: false)
    expected.replaceSubrange(offset..<(offset + count), with: repeatElement(0, count: count))
  }

  func expectWhole(_ place: String) throws {
    #expect(try chain.wholeDisk() == expected, "\(place)")
    try chain.close()
    let image = MemoryStorage(storage.content)
    let report = try Qcow2Check.run(on: Qcow2Header.read(from: image), in: image)
    #expect(report.errors == 0, "\(place): \(report.findings)")
  }
}
