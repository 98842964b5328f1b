import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Our check and our repair, against QEMU's, on damaged images.
@Suite(.timeLimit(.minutes(5))) struct CheckTests {
  let directory: TemporaryDirectory
  let image: String

  init() throws {
    directory = try TemporaryDirectory()
    image = directory.path("disk.qcow2")
  }

  private func make(_ options: String, size: String = "2M", _ commands: [String]) throws {
    try Qemu.img("create", "-q", "-f", "qcow2", "-o", options, on: image, and: size)
    try Qemu.io(image, commands)
  }

  @discardableResult
  private func repair() throws -> CheckReport {
    let storage = try FileStorage.open(image, readOnly: false)
    defer { storage.close() }
    return try Qcow2Check.repair(.read(from: storage), in: storage)
  }

  /// What is done to an image whose clusters, at 64 KiB, are: header, refcount table, refcount block, L1 table, L2 table,
  /// data from number 5 on.
  enum Damage: String, CaseIterable {
    case nothing, countTooLow, countTooHigh, countOfAFreeCluster, noCounts, countsOfMetadata
    case l1FlagMissing, l2FlagMissing, flagTooMany, flagMissingAndLeak
    case sharedCluster, clusterPastTheEnd, clusterAtNoCluster, reservedBits, cutOff, blockNearTheGreatestOffset
    case l1WithoutOffset, l1OfReservedBits, blockIsL1Table, dataIsL2Table

    private static func count(of cluster: Int) -> Int { (2 << 16) + 2 * cluster + 1 }
    private static let l1 = 3 << 16
    /// The first L2 entry, of a cluster at number 5.
    private static let l2 = 4 << 16

    func apply(to bytes: inout [UInt8]) {
      switch self {
      case .nothing: break
      case .countTooLow: bytes[Self.count(of: 5)] = 0
      case .countTooHigh: bytes[Self.count(of: 6)] = 2
      case .countOfAFreeCluster:
        bytes[Self.count(of: bytes.count >> 16)] = 1
        bytes += [UInt8](repeating: 0, count: 1 << 16)
      case .noCounts: for cluster in 0..<20 { bytes[Self.count(of: cluster)] = 0 }
      case .countsOfMetadata: for cluster in 0..<5 { bytes[Self.count(of: cluster)] = 3 }
      case .l1FlagMissing: bytes[Self.l1] = 0
      case .l2FlagMissing: bytes[Self.l2] = 0
      case .flagTooMany:
        bytes[Self.count(of: 5)] = 2
        bytes[Self.l2] = 0x80
      case .flagMissingAndLeak:
        bytes[Self.count(of: 5)] = 2
        bytes[Self.l2] = 0
      case .sharedCluster: bytes[Self.l2 + 8 + 5] = bytes[Self.l2 + 5]
      case .clusterPastTheEnd: bytes[Self.l2 + 4] = 1
      case .clusterAtNoCluster: bytes[Self.l2 + 6] = 2
      case .reservedBits: bytes[Self.l2 + 7] |= 2
      case .blockNearTheGreatestOffset:
        bytes.replaceSubrange((1 << 16) + 8..<(1 << 16) + 16, with: [0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
      case .cutOff: bytes.removeLast(1 << 16)
      case .l1WithoutOffset: bytes.replaceSubrange(Self.l1..<Self.l1 + 8, with: [0x80, 0, 0, 0, 0, 0, 0, 0])
      case .l1OfReservedBits: bytes.replaceSubrange(Self.l1..<Self.l1 + 8, with: [0, 0, 0, 0, 0, 0, 0, 0x1F])
      case .blockIsL1Table: bytes[(1 << 16) + 5] = 3
      case .dataIsL2Table: bytes[Self.l2 + 5] = 4
      }
    }

    /// Those that can be repaired without loss of data.
    static let repairable: [Damage] = [
      .nothing, .countTooHigh, .countOfAFreeCluster, .countsOfMetadata, .countTooLow, .noCounts, .l1FlagMissing,
      .l2FlagMissing, .flagTooMany, .flagMissingAndLeak,
    ]
  }

  private func makeDamaged(_ damage: Damage) throws -> (bytes: [UInt8], image: String) {
    try make("cluster_size=64k", ["write -q -P 7 0 512k", "write -q -z 128k 64k"])
    let bytes = try Qemu.bytes(of: image)
    var file = [UInt8](try Data(contentsOf: URL(filePath: image)))
    damage.apply(to: &file)
    try Data(file).write(to: URL(filePath: image))
    return (bytes, image)
  }

  @Test(arguments: Damage.allCases) func isJudgedAsQemuDoes(_ damage: Damage) throws {
    _ = try makeDamaged(damage)
    try expectSameVerdict(on: image)
  }

  @Test(arguments: Damage.repairable) func countsAndFlagsAreRepaired(_ damage: Damage) throws {
    let (bytes, _) = try makeDamaged(damage)
    try repair()
    try Qemu.expectClean(image)
    try expectSameVerdict(on: image)
    try Qemu.expect(image, reads: bytes)
  }

  @Test(arguments: Set(Damage.allCases).subtracting(Damage.repairable))
  func whatCannotBeRepairedWithoutLossIsNotTouched(_ damage: Damage) throws {
    _ = try makeDamaged(damage)
    let before = try Data(contentsOf: URL(filePath: image))
    let found = try repair()
    #expect((found.objectionToRepair == nil) == (damage == .sharedCluster))
    #expect(try (Data(contentsOf: URL(filePath: image)) == before) == (damage != .sharedCluster))
  }

  @Test func anImageWithARefcountBlockNearTheGreatestOffsetDoesNotKillTheMount() throws {
    _ = try makeDamaged(.blockNearTheGreatestOffset)
    let error = #expect(throws: ImageError.self) { try withActiveImage(image) { _ in } }
    #expect(error?.code == .corrupt)
  }

  @Test func anImageThatQemuLeftDirtyAmongManyRefcountBlocksIsRepairedAndWritten() throws {
    let options = "cluster_size=512,refcount_bits=64,lazy_refcounts=on"
    try make(options, size: "6M", ["write -q -P 1 0 64k"])
    try Qemu.ioKilled(image, ["write -q -P 2 32k 3M", "flush"])
    let bytes = try Qemu.bytes(of: image)
    try expectSameVerdict(on: image)
    try withActiveImage(image) { image in
      #expect(image.header.isMarkedDirty == false)
      try image.write([UInt8](repeating: 9, count: 1 << 20), at: 4 << 20)
    }
    try Qemu.expectClean(image)
    var model = bytes
    model.replaceSubrange(4 << 20..<5 << 20, with: [UInt8](repeating: 9, count: 1 << 20))
    try Qemu.expect(image, reads: model)
  }

  @Test(arguments: [1, 16, 64]) func anImageThatOutgrowsItsRefcountTableStaysWhole(refcountBits: Int) throws {
    try make("cluster_size=512,refcount_bits=\(refcountBits)", size: "20M", [])
    let bytes = (0..<(20 << 20)).map { UInt8(truncatingIfNeeded: $0 / 512 + $0 >> 19) }
    try withActiveImage(image) { image in
      for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
        try image.write(Array(bytes[start..<start + (1 << 20)]), at: start)
        if start % (4 << 20) == 0 { try image.flush() }
      }
    }
    try Qemu.expectClean(image)
    try Qemu.expect(image, reads: bytes)
  }
}
