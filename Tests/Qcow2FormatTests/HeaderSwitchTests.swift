import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

/// The switch of the backing file: one sector, and nothing before it that the old header could see.
@Suite struct HeaderSwitchTests {
  private static func image(
    clusterSize: Int = 4096, version: Int = 3, backing: String? = "base.raw", extensions: [HeaderExtension] = []
  ) throws -> MemoryStorage {
    let storage = MemoryStorage(path: "top.qcow2")
    var creation = Qcow2Creation(virtualSize: 65536)
    creation.clusterSize = ByteCount(clusterSize)
    creation.version = version
    try creation.write(to: storage)
    var cluster = try storage.bytes(ByteCount(clusterSize), at: HostOffset(0))
    var all = extensions
    if backing != nil {
      all.insert(HeaderExtension(kind: HeaderExtension.Kind.backingFormat, data: Array("raw".utf8), position: 0), at: 0)
    }
    var head = Array(cluster.prefix(version == 3 ? 112 : 72))
    for item in all { item.append(to: &head) }
    head += [UInt8](repeating: 0, count: 8)
    if let backing {
      BigEndian.store(UInt64(head.count), into: &head, at: HeaderSector.Field.backingOffset)
      BigEndian.store(UInt32(backing.utf8.count), into: &head, at: HeaderSector.Field.backingSize)
      head += Array(backing.utf8)
    }
    cluster.replaceSubrange(0..<head.count, with: head)
    try storage.write(cluster.span, at: HostOffset(0))
    try storage.sync()
    storage.forgetLog()
    return storage
  }

  /// As QEMU writes it: 8 entries of 48 bytes.
  private static let featureNames = HeaderExtension(
    kind: HeaderExtension.Kind.featureNames, data: [UInt8](repeating: 0x41, count: 384), position: 0)

  private static func record(_ name: String?, format: String = "qcow2", in storage: MemoryStorage) throws {
    let header = try Qcow2Header.read(from: storage)
    let backing = name.map { RecordedBacking(name: Array($0.utf8), format: format) }
    try HeaderSector(header: header, storage: storage).record(backing: backing)
  }

  static let layouts: [(clusterSize: Int, version: Int, extensions: [HeaderExtension])] = [
    (512, 3, []), (512, 2, []), (1024, 3, []), (4096, 3, [featureNames]), (65536, 2, []), (65536, 3, [featureNames]),
    (4096, 3, [HeaderExtension(kind: 0x1234_5678, data: [UInt8](repeating: 7, count: 900), position: 0)]),
  ]

  @Test(arguments: layouts.indices, [nil, "b", "other.qcow2", String(repeating: "n", count: 200)])
  func everyCrashLeavesTheOldNameOrTheNewOne(_ index: Int, _ name: String?) throws {
    let layout = Self.layouts[index]
    let storage = try Self.image(
      clusterSize: layout.clusterSize, version: layout.version, extensions: layout.extensions)
    let initial = storage.content
    let old = try Qcow2Header.read(from: storage)
    try Self.record(name, in: storage)
    let new = try Qcow2Header.read(from: storage)
    #expect(new.backing?.name == name.map { Array($0.utf8) })
    if name != nil { #expect(new.backing?.format == "qcow2") }
    CrashReplay(initial: initial, log: storage.log).states(limit: 2000, seed: 1) { state in
      let found = try? Qcow2Header.read(from: state.storage).backing
      #expect(found == old.backing || found == new.backing, "position \(state.position) state \(state.number)")
    }
    for case .write(let bytes, let offset) in storage.log where offset < 512 {
      #expect(offset == 0 && bytes.count == 512)
    }
  }

  @Test func unknownExtensionsSurvive() throws {
    let unknown = HeaderExtension(kind: 0x1234_5678, data: Array("precious".utf8), position: 0)
    let storage = try Self.image(extensions: [unknown, Self.featureNames])
    for name in ["a", nil, "longer.qcow2"] {
      try Self.record(name, in: storage)
      let kept = try Qcow2Header.read(from: storage).extensions.first { $0.kind == unknown.kind }
      #expect(kept?.data == unknown.data)
    }
  }

  @Test func aNameThatDoesNotFitIsRefusedBeforeAnythingIsWritten() throws {
    let storage = try Self.image(clusterSize: 512)
    let error = #expect(throws: ImageError.self) {
      try Self.record(String(repeating: "x", count: 400), in: storage)
    }
    #expect(error?.code == .noSpace)
    #expect(storage.log.isEmpty)
  }

  @Test func aNameLongerThanAHeaderHoldsIsRefused() throws {
    let storage = try Self.image(clusterSize: 65536)
    let error = #expect(throws: ImageError.self) {
      try Self.record(String(repeating: "x", count: 1024), in: storage)
    }
    #expect(error?.code == .nameTooLong)
    try Self.record(String(repeating: "x", count: 1023), in: storage)
  }

  @Test(arguments: 1...2)
  func aFailedWriteLeavesTheHeaderAsItWas(_ nth: Int) throws {
    let storage = try Self.image(clusterSize: 4096)
    let before = try Qcow2Header.read(from: storage).backing
    storage.setFaults(FaultPlan([.write], nth: nth, errno: 5))
    let name = String(repeating: "n", count: 500)
    let error = #expect(throws: ImageError.self) { try Self.record(name, in: storage) }
    #expect(error?.code == .storage)
    #expect(try Qcow2Header.read(from: storage).backing == before)
    storage.setFaults(nil)
    try Self.record(name, in: storage)
    #expect(try Qcow2Header.read(from: storage).backing?.name == Array(name.utf8))
  }

  @Test func aSectorThatArrivedThoughItsWriteFailedIsPutBack() throws {
    let storage = try Self.image(clusterSize: 4096)
    let before = storage.content.bytes(in: 0..<4096)
    storage.setFaults(FaultPlan([.write], nth: 1, fault: FaultPlan.Fault(errno: 5, isDone: true)))
    let error = #expect(throws: ImageError.self) { try Self.record("b", in: storage) }
    #expect(error?.code == .storage)
    #expect(storage.content.bytes(in: 0..<4096) == before)
  }

  @Test func aFailedSyncOfTheHeaderIsAnUnknownOutcome() throws {
    let storage = try Self.image(clusterSize: 4096)
    storage.setFaults(FaultPlan([.sync], nth: 1, errno: 5))
    let error = #expect(throws: ImageError.self) { try Self.record("b", in: storage) }
    #expect(error?.code == .outcomeUnknown)
  }
}
