import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Which images take no writes, and which do though something is wrong with them.
@Suite(.timeLimit(.minutes(5))) struct WriteRefusalTests {
  private let directory: TemporaryDirectory
  private let image: String

  init() throws {
    directory = try TemporaryDirectory()
    image = directory.path("disk.qcow2")
  }

  private func make(
    _ options: String = "cluster_size=64k", size: String = "2M", writing command: String
  ) throws -> [UInt8] {
    try Qemu.img("create", "-q", "-f", "qcow2", "-o", options, on: image, and: size)
    try Qemu.io(image, [command])
    return [UInt8](try Data(contentsOf: URL(filePath: image)))
  }

  /// The error that opening these bytes for writing ends with, and whether anything was changed before.
  private func refusal(_ bytes: [UInt8], data: [UInt8]? = nil, dropping: Bool = false) throws -> ImageError? {
    let storage = MemoryStorage(bytes)
    let header = try Qcow2Header.read(from: storage)
    do throws(ImageError) {
      _ = try Qcow2ActiveImage(
        header: header, storage: storage, dataStorage: data.map { MemoryStorage($0) },
        options: .init(dropsBitmaps: dropping))
      return nil
    } catch {
      #expect(storage.log.isEmpty, "refused, and changed: \(error)")
      return error
    }
  }

  /// An image whose clusters are: header, refcount table, refcount block, L1 table, L2 table, data from number 5 on.
  enum Kind: String, CaseIterable {
    case l2EntryToRefcountBlock, twoOwners, l2EntryToL1Table, l2EntryToItsTable, countOfDataZero, countOfDataTooHigh
    case countOfHeaderZero, noBlock, blockIsTable, blockIsL1Table, dataCut, tableCut

    var marks: [(position: Int, byte: UInt8)] {
      let l2 = 4 << 16
      let block = 2 << 16
      return switch self {
      case .l2EntryToRefcountBlock: [(l2 + 5, 2)]
      case .twoOwners: [(l2 + 8 + 5, 5)]
      case .l2EntryToL1Table: [(l2 + 5, 3)]
      case .l2EntryToItsTable: [(l2 + 5, 4)]
      case .countOfDataZero: [(block + 11, 0)]
      case .countOfDataTooHigh: [(block + 11, 2)]
      case .countOfHeaderZero: [(block + 1, 0)]
      case .noBlock: [(1 << 16 + 5, 0)]
      case .blockIsTable: [(1 << 16 + 5, 1)]
      case .blockIsL1Table: [(1 << 16 + 5, 3)]
      case .dataCut, .tableCut: []
      }
    }
  }

  @Test(arguments: Kind.allCases) func whatAWriteCouldDestroyIsRefusedByOneSentence(_ kind: Kind) throws {
    var bytes = try make(writing: "write -q -P 7 0 256k")
    for (position, byte) in kind.marks { bytes[position] = byte }
    if kind == .dataCut { bytes.removeLast(1) }
    if kind == .tableCut { bytes.removeLast(bytes.count - (4 << 16) - 512) }
    let error = try refusal(bytes)
    #expect(error?.code == .corrupt)
    let reason = try #require(error?.reason)
    #expect(reason.contains("`-o ro`") && !reason.contains("\n"), "\(reason)")
  }

  enum Harmless: String, CaseIterable {
    case leak, countedBeyondTheEnd, flagMissing, reservedBits, noClusterOffset, l1WithoutOffset, zeroClusterBeyondTheEnd

    func apply(to bytes: inout [UInt8]) {
      let l2 = 4 << 16
      let block = 2 << 16
      switch self {
      case .leak:
        bytes += [UInt8](repeating: 0, count: 1 << 16)
        bytes[block + 2 * 9 + 1] = 1
      case .countedBeyondTheEnd: bytes[block + 2 * 30 + 1] = 1
      case .flagMissing: bytes[l2] = 0
      case .reservedBits: bytes[l2 + 7] |= 4
      case .noClusterOffset: bytes[l2 + 6] = 0x2A
      case .l1WithoutOffset: bytes.replaceSubrange(3 << 16..<(3 << 16) + 8, with: [0x80, 0, 0, 0, 0, 0, 0, 0])
      case .zeroClusterBeyondTheEnd:
        bytes[l2 + 3 * 8 + 7] = 1
        bytes.removeLast(1 << 16)
      }
    }
  }

  @Test(arguments: Harmless.allCases) func whatConcernsNoOtherRangeDoesNotForbidWriting(_ kind: Harmless) throws {
    var bytes = try make(writing: "write -q -P 7 0 256k")
    kind.apply(to: &bytes)
    #expect(try refusal(bytes) == nil)
  }

  @Test(arguments: ["metadata", "falloc", "full"], ["512", "64k", "2M"])
  func whatPreallocationLeavesIsWritten(preallocation: String, clusterSize: String) throws {
    let options = "cluster_size=\(clusterSize),preallocation=\(preallocation)"
    #expect(try refusal(make(options, size: "1000448", writing: "write -q -P 1 999936 512")) == nil)
  }

  @Test(arguments: [0, 1, 511, 512, 100_000])
  func aDataFileThatIsShorterThanWhatIsMappedIsRefused(missing: Int) throws {
    let bytes = try make("data_file=disk.data", size: "1000448", writing: "write -q -P 1 0 1000448")
    var data = [UInt8](try Data(contentsOf: URL(filePath: directory.path("disk.data"))))
    data.removeLast(data.count - 1_000_448 + missing)
    #expect(try (refusal(bytes, data: data) == nil) == (missing == 0))
  }

  @Test func anEntryThatLeadsElsewhereInADataFileIsAnErrorForItsRange() throws {
    var bytes = try make("data_file=disk.data,data_file_raw=on", writing: "write -q -P 1 0 128k")
    let l2 = bytes.count - (1 << 16)
    bytes[l2 + 8 + 5] = 0
    try Data(bytes).write(to: URL(filePath: image))
    #expect(try !ExternalProgram("qemu-io").run("-r", "-c", "read 64k 512", image, in: directory.url).succeeded)
    let storage = MemoryStorage(bytes)
    let header = try Qcow2Header.read(from: storage)
    let reader = try Qcow2Image(
      header: header, storage: storage, dataStorage: MemoryStorage(), budget: TableBudget(limit: ByteCount(1 << 20)))
    #expect(throws: ImageError.self) { try reader.mapping(at: GuestOffset(65536), limit: 512) }
    #expect(try reader.mapping(at: GuestOffset(0), limit: 512).mapping == .data(at: HostOffset(0)))
    #expect(try Qcow2Check.run(on: header, in: storage).errors == 1)
  }

  enum Snapshots: CaseIterable {
    case l1TableAtNoCluster, l1TableTooLarge, idTooLong, extraDataTooLong, tableCut, tablePastTheEnd

    func apply(to bytes: inout [UInt8]) {
      let table = Int(BigEndian.load(UInt64.self, from: bytes.span, at: 64))
      switch self {
      case .l1TableAtNoCluster: bytes[table + 6] |= 2
      case .l1TableTooLarge: bytes[table + 8] = 0x10
      case .idTooLong: bytes.replaceSubrange(table + 12..<table + 14, with: [0xFF, 0xFF])
      case .extraDataTooLong: bytes.replaceSubrange(table + 36..<table + 40, with: [0xFF, 0xFF, 0xFF, 0xFF])
      case .tableCut: bytes.removeLast(bytes.count - table - 30)
      case .tablePastTheEnd: bytes[64 + 4] = 0x10
      }
    }
  }

  @Test(arguments: Snapshots.allCases) func aDamagedSnapshotTableIsSaidAndTakesNoWrites(_ kind: Snapshots) throws {
    _ = try make(writing: "write -q -P 7 0 256k")
    try Qemu.img("snapshot", "-q", "-c", "s1", on: image)
    var bytes = [UInt8](try Data(contentsOf: URL(filePath: image)))
    kind.apply(to: &bytes)
    #expect(try refusal(bytes)?.code == .corrupt)
    let storage = MemoryStorage(bytes)
    #expect(try Qcow2Check.run(on: .read(from: storage), in: storage).errors > 0)
  }

  /// Nine L2 tables of 2 MiB are more than what is looked into at the opening.
  @Test func aLargeImageIsLookedIntoBeforeItsFirstWriteAndNotForItsReaders() throws {
    let starts = (0..<9).map { $0 << 39 }
    _ = try make("cluster_size=2M", size: "5T", writing: "write -q -P 1 0 512")
    try Qemu.io(image, starts.map { "write -q -P 1 \($0) 512" })
    var bytes = [UInt8](try Data(contentsOf: URL(filePath: image)))
    func word(_ position: Int) -> UInt64 { BigEndian.load(UInt64.self, from: bytes.span, at: position) }
    func offset(_ position: Int) -> Int { Int(word(position) & 0x00FF_FFFF_FFFF_FE00) }
    let l1 = offset(40)
    BigEndian.store(word(offset(l1)), into: &bytes, at: offset(l1 + 8))
    let storage = MemoryStorage(bytes)
    let active = try Qcow2ActiveImage(
      header: .read(from: storage), storage: storage, dataStorage: nil, options: .init())
    let mapping = try active.mapping(at: GuestOffset(1 << 39), limit: 512).mapping
    #expect(mapping == .data(at: HostOffset(offset(offset(l1)))))
    let error = #expect(throws: ImageError.self) { try active.prepare(GuestRange(0..<512)) }
    #expect(error?.code == .refused && storage.log.isEmpty)
    #expect(throws: ImageError.self) { try active.prepare(GuestRange(0..<512)) }
    #expect(storage.log.isEmpty)
  }

  @Test func bitmapsThatClaimTheL1TableAreNotFreed() throws {
    _ = try make(writing: "write -q -P 7 0 256k")
    try Qemu.img("bitmap", "--add", on: image, and: "b1")
    var bytes = [UInt8](try Data(contentsOf: URL(filePath: image)))
    #expect(try refusal(bytes, dropping: true) == nil)
    let places = ImagePlaces(bytes, clusterSize: 65536, hasDataFile: false)
    let table = try #require(places.pointers.first { $0.name == "bitmap table" })
    BigEndian.store(3 << 16 as UInt64, into: &bytes, at: table.position)
    #expect(try refusal(bytes, dropping: true)?.code == .corrupt)
  }

  @Test func bitmapsStayCountedUntilTheHeaderNoLongerNamesThem() throws {
    _ = try make(writing: "write -q -P 7 0 256k")
    try Qemu.img("bitmap", "--add", on: image, and: "b1")
    let storage = MemoryStorage([UInt8](try Data(contentsOf: URL(filePath: image))))
    let active = try Qcow2ActiveImage(
      header: .read(from: storage), storage: storage, dataStorage: nil, options: .init(dropsBitmaps: true))
    storage.setFaults(FaultPlan([.write], nth: 1))
    #expect(throws: ImageError.self) { try active.prepare(GuestRange(0..<512)) }
    storage.setFaults(nil)
    try active.finish()
    #expect(try Qcow2Check.run(on: .read(from: storage), in: storage).isClean)
    _ = try active.prepare(GuestRange(0..<512))
    try active.finish()
    let header = try Qcow2Header.read(from: storage)
    #expect(try !header.hasBitmaps && Qcow2Check.run(on: header, in: storage).isClean)
  }
}
