import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Images that flatcow makes, in QEMU's hands.
@Suite(.timeLimit(.minutes(5))) struct CreationTests {
  struct Case: CustomTestStringConvertible {
    let creation: Qcow2Creation

    var testDescription: String {
      """
      \(creation.virtualSize.bytes) cluster=\(creation.clusterSize.bytes) v\(creation.version) \
      refcount=\(creation.refcountBits)\(creation.hasExtendedL2 ? " extl2" : "")
      """
    }

    static let all: [Case] = LayerGeometry.clusterSizes.flatMap { clusterSize in
      [0, 512, 1 << 20, (3 << 20) + 512, 5 << 30].enumerated().map { index, size in
        var creation = Qcow2Creation(virtualSize: ByteCount(size))
        creation.clusterSize = ByteCount(clusterSize)
        creation.version = index == 1 ? 2 : 3
        creation.refcountBits = creation.version == 2 ? 16 : LayerGeometry.refcountWidths[(index * 3) % 7]
        creation.hasExtendedL2 = creation.version == 3 && clusterSize >= 16 << 10 && index % 2 == 0
        return Case(creation: creation)
      }
    }
  }

  let directory: TemporaryDirectory
  let image: String

  init() throws {
    directory = try TemporaryDirectory()
    image = try directory.file("new.qcow2")
  }

  private func write(_ creation: Qcow2Creation) throws {
    let storage = try FileStorage.open(image, readOnly: false)
    defer { storage.close() }
    try creation.write(to: storage)
  }

  @Test(arguments: Case.all) func isCleanAndWrittenByQemuAndReadHere(_ made: Case) throws {
    let creation = made.creation
    try write(creation)
    try Qemu.expectClean(image)
    try expectSameVerdict(on: image)
    #expect(try Qemu.info(image).virtualSize == creation.virtualSize.bytes)
    let size = min(creation.virtualSize.bytes, 1 << 20)
    guard size > 0 else { return }
    let end = creation.virtualSize.bytes - size
    try Qemu.io(image, ["write -q -P 1 0 \(size)", "write -q -P 2 \(end) \(size)", "write -q -z 0 \(size / 2)"])
    let storage = try FileStorage.open(image, readOnly: true)
    defer { storage.close() }
    let reader = try Qcow2Image(
      header: .read(from: storage), storage: storage, dataStorage: nil, budget: TableBudget(limit: ByteCount(1 << 20)))
    guard case .data(let host) = try reader.mapping(at: GuestOffset(end + size - 1), limit: 1).mapping else {
      Issue.record("what QEMU wrote is not mapped")
      return
    }
    #expect(try storage.bytes(at: host.bytes, count: 1) == [2])
    try expectSameVerdict(on: image)
  }

  @Test func aSizeThatIsNotWholeSectorsIsRoundedUpAsQemuDoes() throws {
    try write(Qcow2Creation(virtualSize: 1000))
    #expect(try Qemu.info(image).virtualSize == 1024)
  }

  @Test(arguments: [(128 << 30) + 1, Int.max]) func aSizeThatSmallClustersCannotMapIsRefused(size: Int) throws {
    var creation = Qcow2Creation(virtualSize: ByteCount(size))
    creation.clusterSize = 512
    let error = #expect(throws: ImageError.self) { try write(creation) }
    #expect(error?.code == .refused)
  }

  @Test func namesItsBackingFile() throws {
    var creation = Qcow2Creation(virtualSize: ByteCount(1 << 20))
    creation.backing = RecordedBacking(name: Array("base.raw".utf8), format: "raw")
    try write(creation)
    let info = try Qemu.info(image)
    #expect(info.backing == "base.raw" && info.backingFormat == "raw")
  }
}
