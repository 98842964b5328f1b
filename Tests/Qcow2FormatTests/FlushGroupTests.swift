import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct FlushGroupTests {
  private static let cluster = 512

  private func image(on storage: MemoryStorage) throws -> Qcow2ActiveImage {
    var creation = Qcow2Creation(virtualSize: ByteCount(1 << 20))
    creation.clusterSize = ByteCount(Self.cluster)
    try creation.write(to: storage)
    return try Qcow2ActiveImage(
      header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil, options: .init())
  }

  private func write(_ image: Qcow2ActiveImage, at offset: Int) throws {
    let plan = try image.prepare(GuestRange(at: GuestOffset(offset), count: ByteCount(Self.cluster)))
    try image.dataStorage.write([UInt8](repeating: 7, count: Self.cluster).span, at: plan.target)
    try image.publish(plan)
  }

  private func isMapped(_ offset: Int, on storage: MemoryStorage) throws -> Bool {
    let copy = MemoryStorage(storage.content)
    let image = try Qcow2Image(
      header: Qcow2Header.read(from: copy), storage: copy, dataStorage: nil, budget: TableBudget(limit: 4096))
    return try image.mapping(at: GuestOffset(offset), limit: 1).mapping != .unallocated
  }

  /// Wherever within a running flush somebody writes and flushes: when his flush returns, what he wrote is on the host.
  @Test(.timeLimit(.minutes(1))) func aFlushThatComesDuringOneCoversWhatWasWrittenBeforeIt() throws {
    for call in 1...20 {
      let storage = MemoryStorage()
      let image = try image(on: storage)
      try write(image, at: 0)
      let calls = Monitor(0)
      let second = Monitor<HostThread?>(nil)
      let isThere = Monitor<Bool?>(nil)
      storage.setHook { action, _ in
        guard action == .write || action == .sync else { return }
        let isNow = calls.withLock { calls in
          calls += 1
          return calls == call
        }
        guard isNow else { return }
        let isAsked = Monitor(false)
        let thread = try? HostThread.start(name: "second") {
          try? self.write(image, at: 100 * Self.cluster)
          isAsked.withLock { $0 = true }
          try? image.flush()
          let found = (try? self.isMapped(100 * Self.cluster, on: storage)) ?? false
          isThere.withLock { $0 = found }
        }
        second.withLock { $0 = thread }
        // The second flush has begun to wait, or is about to: both are tried.
        isAsked.wait { $0 ? () : nil }
        HostThread.sleep(.milliseconds(call.isMultiple(of: 2) ? 5 : 0))
      }
      try image.flush()
      storage.setHook(nil)
      guard let thread = second.read({ $0 }) else { break }
      thread.join()
      #expect(isThere.read { $0 } == true, "call \(call)")
    }
  }
}
