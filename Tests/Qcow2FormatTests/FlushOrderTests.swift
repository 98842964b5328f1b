import Glibc
import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct FlushOrderTests {
  private static let cluster = 512
  /// What an L2 table of such clusters maps.
  private static let reach = 64 * cluster

  private func write(_ image: Qcow2ActiveImage, at offset: Int) throws {
    let plan = try image.prepare(GuestRange(at: GuestOffset(offset), count: ByteCount(Self.cluster)))
    try image.dataStorage.write([UInt8](repeating: 7, count: Self.cluster).span, at: plan.target)
    try image.publish(plan)
  }

  /// A flush may fail between the L1 entries of its new tables. Then the host points to some of them, and the next flush may
  /// write into those only what its first sync has covered.
  @Test func aTableThatMayBePointedToIsWrittenAfterTheDataThatItMaps() throws {
    var pointedTo = 0
    for nth in 1... {
      let storage = MemoryStorage()
      var creation = Qcow2Creation(virtualSize: ByteCount(64 * Self.reach))
      creation.clusterSize = ByteCount(Self.cluster)
      try creation.write(to: storage)
      let header = try Qcow2Header.read(from: storage)
      let image = try Qcow2ActiveImage(header: header, storage: storage, dataStorage: nil, options: .init())
      for table in 0..<3 { try write(image, at: table * Self.reach) }
      storage.setFaults(FaultPlan([.write], nth: nth, errno: ENOSPC))
      let isFlushed = (try? image.flush()) != nil
      storage.setFaults(nil)
      if isFlushed { break }

      try write(image, at: Self.cluster)
      try write(image, at: Self.reach + Self.cluster)
      let bytes = try storage.bytes(ByteCount(3 * 8), at: header.l1Offset)
      let homes = BigEndian.words(in: bytes.span).map { Int($0 & L2Entry.Bits.offset) }.filter { $0 != 0 }
      storage.forgetLog()
      try image.flush()
      let firstSync = try #require(storage.log.firstIndex(of: .sync))
      for home in homes {
        pointedTo += 1
        let isTouched = storage.log[..<firstSync].contains { $0.range.overlaps(home..<(home + Self.cluster)) }
        #expect(!isTouched, "write \(nth) of the first flush failed; the table at \(home)")
      }
      let anew = try Qcow2ActiveImage(header: header, storage: storage, dataStorage: nil, options: .init())
      for offset in [0, Self.cluster, Self.reach, Self.reach + Self.cluster, 2 * Self.reach] {
        let run = try anew.mapping(at: GuestOffset(offset), limit: 1)
        guard case .data(let host) = run.mapping else {
          Issue.record("nothing at \(offset) after write \(nth) had failed")
          continue
        }
        #expect(try storage.bytes(1, at: host) == [7])
      }
    }
    #expect(pointedTo > 0)
  }
}
