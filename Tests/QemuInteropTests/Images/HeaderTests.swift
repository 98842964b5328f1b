import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// The backing file's name in headers that QEMU made, read back by QEMU.
@Suite(.timeLimit(.minutes(5))) struct HeaderTests {
  let directory: TemporaryDirectory
  let image: String

  init() throws {
    directory = try TemporaryDirectory()
    image = directory.path("top.qcow2")
  }

  private func make(clusterSize: Int, over name: String? = nil, format: String = "qcow2", version: String = "1.1")
    throws
  {
    let backing = name.map { ["-u", "-b", $0, "-F", format] } ?? []
    let options = "cluster_size=\(clusterSize),compat=\(version)"
    try Qemu.img(["create", "-q", "-f", "qcow2", "-o", options] + backing, on: image, and: ["1M"])
  }

  private func bytes() throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: image))) }

  private func change(_ range: Range<Int>, to bytes: [UInt8]) throws {
    var all = try self.bytes()
    all.replaceSubrange(range, with: bytes)
    try Data(all).write(to: URL(filePath: image))
  }

  /// A name of `length` bytes that QEMU takes for an absolute path.
  private static func name(_ length: Int) -> String { "/" + String(repeating: "n", count: length - 1) }

  struct Switch: CustomTestStringConvertible {
    let clusterSize: Int
    let version: String
    let old: (length: Int, format: String)?
    let new: (length: Int, format: String)?

    var testDescription: String { "\(clusterSize) \(version) \(String(describing: old)) → \(String(describing: new))" }

    /// Names of all lengths, from and to, in clusters of all sizes.
    static let drawn: [Switch] = {
      var random = SeededRandom(seed: 16)
      func side() -> (length: Int, format: String)? {
        let length = [0, 1, 20, 150, 300, 400, 511, 600, 1000, 1023].randomElement(using: &random) ?? 0
        return length == 0
          ? nil : (length, ["raw", "qcow2", "luks", "parallels"].randomElement(using: &random) ?? "raw")
      }
      return (0..<80).map { _ in
        let clusterSize = [512, 1024, 2048, 4096, 65536].randomElement(using: &random) ?? 512
        var old = side()
        // What QEMU itself has no room for.
        if clusterSize <= 1024, let length = old?.length, length > clusterSize - 200 { old = nil }
        return Switch(clusterSize: clusterSize, version: random.oneIn(3) ? "0.10" : "1.1", old: old, new: side())
      }
    }()
  }

  @Test(arguments: Switch.drawn) func everyNameIsRecordedOrRefused(_ change: Switch) throws {
    try make(
      clusterSize: change.clusterSize, over: change.old.map { Self.name($0.length) },
      format: change.old?.format ?? "raw",
      version: change.version)
    let before = try bytes()
    let new = change.new.map { RecordedBacking(name: Array(Self.name($0.length).utf8), format: $0.format) }
    let refusal = try withActiveImage(image) { image -> ImageError? in
      do {
        try image.check(backing: new)
      } catch let error as ImageError {
        return error
      }
      try image.record(backing: new)
      #expect(image.backing == new)
      return nil
    }
    let after = try bytes()
    if let refusal {
      #expect(refusal.code == .noSpace)
      #expect(before == after)
      // Twice a sector holds the header and its extensions; both names have to fit beside them.
      #expect((change.new?.length ?? 0) + (change.old?.length ?? 0) + 1024 > change.clusterSize)
    } else {
      let info = try Qemu.info(image)
      #expect(info.backing == change.new.map { Self.name($0.length) })
      #expect(info.backingFormat == change.new?.format)
      let header = try Qcow2Header.read(from: FileStorage.open(image, readOnly: true))
      #expect(header.backing == new)
    }
    try Qemu.expectClean(image)
    try expectSameVerdict(on: image)
  }

  @Test func theSectorThatSwitchesIsTheOnlyOneWithAShortName() throws {
    try make(clusterSize: 65536, over: "/old", format: "qcow2")
    let before = try bytes()
    try withActiveImage(image) { try $0.record(backing: RecordedBacking(name: Array("new".utf8), format: "raw")) }
    let after = try bytes()
    let changed = before.indices.filter { before[$0] != after[$0] }
    // A name that fits into no gap of the first sector goes behind the extensions.
    #expect(changed.allSatisfy { $0 < 1024 })
    #expect(try Qemu.info(image).backing == "new")
  }

  @Test func aHeaderOf512ByteClustersTakesANameThatFitsAndRefusesALongerOne() throws {
    try make(clusterSize: 512)
    try withActiveImage(image) { image in
      try image.check(backing: RecordedBacking(name: Array(Self.name(300).utf8), format: "raw"))
      let error = #expect(throws: ImageError.self) {
        try image.check(backing: RecordedBacking(name: Array(Self.name(480).utf8), format: "raw"))
      }
      #expect(error?.code == .noSpace)
      try image.record(backing: RecordedBacking(name: Array(Self.name(300).utf8), format: "raw"))
    }
    #expect(try Qemu.info(image).backing == Self.name(300))
  }

  @Test func aNameOf1024BytesIsTooLong() throws {
    try make(clusterSize: 65536)
    try withActiveImage(image) { image in
      let error = #expect(throws: ImageError.self) {
        try image.check(backing: RecordedBacking(name: Array(Self.name(1024).utf8), format: "raw"))
      }
      #expect(error?.code == .nameTooLong)
    }
  }

  @Test func aFlattenedImageHasNoBackingFileAndNoFormat() throws {
    try make(clusterSize: 65536, over: "/old", format: "raw")
    try withActiveImage(image) { try $0.record(backing: nil) }
    let info = try Qemu.info(image)
    #expect(info.backing == nil && info.backingFormat == nil)
    #expect(try Array(bytes()[8..<20]) == [UInt8](repeating: 0, count: 12), "an offset without a length")
  }

  @Test func anEmptyNameThatQemusStreamRecordedIsNoBackingFile() throws {
    try make(clusterSize: 65536, over: "/old", format: "raw")
    try change(16..<20, to: [0, 0, 0, 0])
    #expect(try Qemu.info(image).backing == nil)
    try withActiveImage(image) { #expect($0.backing == nil) }
  }

  @Test func aNewNameWithoutAFormatDoesNotKeepTheOldOnes() throws {
    try make(clusterSize: 65536, over: "/old", format: "raw")
    try withActiveImage(image) { try $0.record(backing: RecordedBacking(name: Array("/new".utf8), format: nil)) }
    let info = try Qemu.info(image)
    #expect(info.backing == "/new" && info.backingFormat == nil)
  }

  @Test func aCompatibleFeatureThatNobodyKnowsSurvivesEverything() throws {
    try make(clusterSize: 65536, over: "/old", format: "raw")
    try change(80..<81, to: [0x40])
    try withActiveImage(image) { image in
      try image.write([UInt8](repeating: 1, count: 65536), at: 0)
      try image.record(backing: nil)
    }
    #expect(try bytes()[80] == 0x40)
    try Qemu.expectClean(image)
  }

  @Test func anAutoclearFeatureThatNobodyKnowsIsClearedByTheFirstWriteAndNoSooner() throws {
    try make(clusterSize: 65536)
    try change(88..<89, to: [0x40])
    try withActiveImage(image) { _ = try $0.mapping(at: GuestOffset(0), limit: ByteCount(512)) }
    #expect(try bytes()[88] == 0x40)
    try withActiveImage(image) { try $0.write([UInt8](repeating: 1, count: 65536), at: 0) }
    #expect(try bytes()[88] == 0)
  }

  @Test func anIncompatibleFeatureThatNobodyKnowsIsNamed() throws {
    try make(clusterSize: 65536)
    try change(72..<73, to: [0x40])
    let error = #expect(throws: ImageError.self) { try withActiveImage(image) { _ in } }
    #expect(error?.code == .unsupported)
    #expect(error?.reason.contains("bit 62") == true)
  }

  @Test func bitmapsAreRefusedOrFreed() throws {
    try make(clusterSize: 65536)
    for bitmap in ["b1", "b2"] { try Qemu.img("bitmap", "--add", on: image, and: bitmap) }
    try Qemu.io(image, ["write -q 0 300k"])
    let error = #expect(throws: ImageError.self) { try withActiveImage(image) { _ in } }
    #expect(error?.code == .refused)
    #expect(try Qemu.info(image).bitmaps == ["b1", "b2"])
    try withActiveImage(image, options: .init(dropsBitmaps: true)) {
      try $0.write([UInt8](repeating: 1, count: 65536), at: 0)
    }
    #expect(try Qemu.info(image).bitmaps == [])
    try Qemu.expectClean(image)
  }
}
