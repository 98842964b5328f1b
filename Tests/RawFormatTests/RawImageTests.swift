import HostStorage
import ImageFormat
import RawFormat
import TestSupport
import Testing

@Suite struct RawImageTests {
  let storage = MemoryStorage([UInt8](repeating: 5, count: 10_001))
  let image: RawImage
  init() throws { image = try RawImage(storage) }

  @Test func theSizeIsTheFilesToTheByte() {
    #expect(image.virtualSize == 10_001)
  }

  @Test func aGuestOffsetIsItsHostOffset() {
    #expect(image.mapping(at: GuestOffset(777), limit: 3000) == Run(.data(at: HostOffset(777)), count: 3000))
  }

  @Test func aWriteGoesInPlaceAndAFlushIsOneSync() throws {
    let range = GuestRange(at: GuestOffset(9), count: 500)
    let plan = image.prepare(range)
    #expect(plan.target == HostOffset(9) && plan.filled == range && !plan.allocates)
    try image.flush()
    #expect(storage.log == [.sync])
  }

  @Test func zeroKeepsOrGivesBackItsSpace() throws {
    let (first, second) = (GuestRange(at: GuestOffset(0), count: 4096), GuestRange(at: GuestOffset(4096), count: 4096))
    #expect(try image.zero(first, reserving: true, hiding: true) == 4096)
    #expect(try image.zero(second, reserving: false, hiding: true) == 4096)
    #expect(storage.log == [.zero(0..<4096), .punch(4096..<8192)])
  }

  @Test func noBackingFileCanBeRecorded() {
    for backing in [nil, RecordedBacking(name: [0x61], format: "raw")] {
      let error = #expect(throws: ImageError.self) { try image.check(backing: backing) }
      #expect(error?.code == .unsupported)
    }
    #expect(storage.log.isEmpty)
  }

  @Test func whatTheStorageSaysIsKeptAsTheCause() {
    storage.setFaults(FaultPlan([.sync], nth: 1))
    let error = #expect(throws: ImageError.self) { try image.finish() }
    #expect(error?.code == .storage && error?.cause?.code == .syncLost)
  }
}
