import BackingChain
import Foundation
import ImageFormat
import TestSupport
import Testing

/// The chain vm/top → store/middle → store/deep/base, each recorded relative to the image above it.
@Suite struct BackingFileStringTests {
  let folder: ImageFolder

  init() throws {
    folder = try ImageFolder()
    for name in ["vm", "store/deep", "other"] { _ = try folder.folder(name) }
    try folder.raw("store/deep/base")
    try folder.overlay("store/middle", on: "deep/base")
    try folder.overlay("vm/top", on: "../store/middle", format: "qcow2")
  }

  private func open(_ name: String = "vm/top") throws -> [Layer] {
    let options = ChainOptions.reading.with { $0.backingRoots = [folder.path] }
    return try ChainOpener.open(path: folder.path(name), options: options).layers
  }

  private func code(_ body: () throws -> Void) -> ChainError.Code? {
    do {
      try body()
      return nil
    } catch {
      return (error as? ChainError)?.code
    }
  }

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  // MARK: Which layer a string means

  @Test(arguments: [
    ("../store/middle", 1), ("file:../store/middle", 1), ("../vm/../store/middle", 1), ("deep/base", 2),
    ("../store/deep/base", 2), ("base", 2), ("middle", 1),
  ])
  func aStringMeansALayer(string: String, index: Int) throws {
    let layers = try open()
    #expect(try BackingFileStrings(of: layers).layer(matching: bytes(string)) === layers[index])
  }

  @Test func anAbsolutePathALinkAndAHardLinkMeanTheFile() throws {
    let base = folder.path("store/deep/base")
    _ = try folder.link("vm/link", to: base)
    try FileManager.default.linkItem(atPath: base, toPath: folder.path("vm/hard"))
    let layers = try open()
    for string in [base, "link", "hard", "json:{\"driver\":\"file\",\"filename\":\"hard\"}"] {
      #expect(try BackingFileStrings(of: layers).layer(matching: bytes(string)) === layers[2])
    }
  }

  @Test(arguments: ["nowhere", "../store", "nbd://host/base", "/etc/hostname", "json:{"])
  func aStringThatMeansNoLayerIsRefused(string: String) throws {
    let strings = BackingFileStrings(of: try open())
    #expect(code { _ = try strings.layer(matching: bytes(string)) } == .notInChain)
  }

  @Test(arguments: ["top", "../vm/top"]) func theActiveImageItselfIsRefused(string: String) throws {
    let strings = BackingFileStrings(of: try open())
    #expect(code { try strings.check(bytes(string)) } == .invalidName)
    #expect(code { _ = try strings.layer(matching: bytes(string)) } == .invalidName)
    #expect(code { _ = try strings.verbatim(bytes(string), for: try open()[2]) } == .invalidName)
  }

  @Test func whatNoHeaderCanHoldIsRefusedBeforehand() throws {
    let strings = BackingFileStrings(of: try open())
    #expect(code { try strings.check([]) } == .invalidName)
    #expect(code { try strings.check([97, 0, 98]) } == .invalidName)
    #expect(code { try strings.check([UInt8](repeating: 97, count: 1024)) } == .nameTooLong)
    #expect(code { try strings.check([UInt8](repeating: 97, count: 1023)) } == nil)
    #expect(code { try strings.check([0xFF, 0xFE]) } == nil)
  }

  @Test func oneNameForTwoLayersIsAmbiguousUnlessItLeadsToOne() throws {
    try folder.raw("store/deep/same")
    try folder.overlay("store/same", on: "deep/same")
    try folder.overlay("vm/upper", on: "../store/same", format: "qcow2")
    let strings = BackingFileStrings(of: try open("vm/upper"))
    #expect(code { _ = try strings.layer(matching: bytes("same")) } == .ambiguous)
    _ = try folder.link("vm/same", to: "../store/same")
    #expect(code { _ = try strings.layer(matching: bytes("same")) } == nil)
  }

  // MARK: What is recorded

  @Test func anUntouchedNameStaysAsItIsRecorded() throws {
    let layers = try open()
    let recorded = try BackingFileStrings(of: layers).automaticBacking(for: layers[1])
    #expect(recorded == RecordedBacking(name: bytes("../store/middle"), format: "qcow2"))
  }

  @Test func aRelativeNameIsMadeRightForTheActiveImagesDirectory() throws {
    let layers = try open()
    let recorded = try BackingFileStrings(of: layers).automaticBacking(for: layers[2])
    #expect(recorded == RecordedBacking(name: bytes("../store/deep/base"), format: "raw"))
  }

  @Test func aRelativeNameByALinkKeepsTheLinksName() throws {
    _ = try folder.link("store/current", to: "deep/base")
    try folder.overlay("store/over", on: "current")
    try folder.overlay("vm/upper", on: "../store/over", format: "qcow2")
    let layers = try open("vm/upper")
    #expect(try BackingFileStrings(of: layers).automaticBacking(for: layers[2]).name == bytes("../store/current"))
  }

  @Test func anAbsoluteNameStaysAbsolute() throws {
    let base = folder.path("store/deep/base")
    try folder.overlay("store/over", on: base)
    try folder.overlay("vm/upper", on: folder.path("store/over"), format: "qcow2")
    let layers = try open("vm/upper")
    let strings = BackingFileStrings(of: layers)
    #expect(try strings.automaticBacking(for: layers[1]).name == bytes(folder.path("store/over")))
    #expect(try strings.automaticBacking(for: layers[2]).name == bytes(base))
  }

  @Test func anActiveImageThatWasMovedGetsANameForItsNewPlace() throws {
    let layers = try open()
    _ = try folder.folder("other/deeper")
    try FileManager.default.moveItem(atPath: folder.path("vm/top"), toPath: folder.path("other/deeper/top"))
    let strings = BackingFileStrings(of: layers)
    #expect(try strings.automaticBacking(for: layers[1]).name == bytes("../../store/middle"))
    #expect(try strings.automaticBacking(for: layers[2]).name == bytes("../../store/deep/base"))
  }

  @Test func aBaseThatWasMovedIsFoundAtItsNewPlace() throws {
    let layers = try open()
    try FileManager.default.moveItem(atPath: folder.path("store/deep/base"), toPath: folder.path("other/base"))
    #expect(try BackingFileStrings(of: layers).automaticBacking(for: layers[2]).name == bytes("../other/base"))
  }

  @Test func aWrappedNameIsUnwrapped() throws {
    let name = #"json:{"driver":"raw","file":{"driver":"file","filename":"../store/deep/base"}}"#
    try folder.overlay("vm/upper", on: name, format: nil)
    let layers = try open("vm/upper")
    let recorded = try BackingFileStrings(of: layers).automaticBacking(for: layers[1])
    #expect(recorded == RecordedBacking(name: bytes("../store/deep/base"), format: "raw"))
  }

  @Test func aNameWithAColonIsNotMistakenForAProtocol() throws {
    try folder.raw("vm/a:b")
    try folder.overlay("vm/over", on: "./a:b")
    try folder.overlay("vm/upper", on: "over", format: "qcow2")
    let layers = try open("vm/upper")
    #expect(try BackingFileStrings(of: layers).automaticBacking(for: layers[2]).name == bytes("./a:b"))
  }

  @Test func aBaseThatIsGoneHasNoName() throws {
    let layers = try open()
    try folder.remove("store/deep/base")
    #expect(code { _ = try BackingFileStrings(of: layers).automaticBacking(for: layers[2]) } == .ambiguous)
  }

  @Test func aBaseThatWasReplacedHasNoName() throws {
    let layers = try open()
    try folder.remove("store/deep/base")
    try folder.raw("store/deep/base")
    let strings = BackingFileStrings(of: layers)
    #expect(code { _ = try strings.automaticBacking(for: layers[2]) } == .ambiguous)
    #expect(!strings.leads(bytes("../store/deep/base"), to: layers[2]))
  }

  @Test func aStringThatLeadsToTheLayerIsRecordedAsItIs() throws {
    let layers = try open()
    let strings = BackingFileStrings(of: layers)
    for string in ["../vm/../store/middle", folder.path("store/middle")] {
      #expect(try strings.backing(naming: bytes(string), for: layers[1]).name == bytes(string))
    }
  }

  @Test func aStringThatMatchedOtherwiseIsMadeRight() throws {
    let layers = try open()
    let recorded = try BackingFileStrings(of: layers).backing(naming: bytes("deep/base"), for: layers[2])
    #expect(recorded.name == bytes("../store/deep/base"))
  }

  @Test func aVerbatimStringNeedNotLeadAnywhere() throws {
    let layers = try open()
    let recorded = try BackingFileStrings(of: layers).verbatim(bytes("nbd://host/base"), for: layers[2])
    #expect(recorded == RecordedBacking(name: bytes("nbd://host/base"), format: "raw"))
  }

  @Test func whatIsRecordedIsWhatQEMUOpens() throws {
    let name = try {
      let layers = try open()
      return try BackingFileStrings(of: layers).automaticBacking(for: layers[2]).name
    }()
    let rebase = try ExternalProgram("qemu-img").run(
      "rebase", "-u", "-b", String(decoding: name, as: UTF8.self), "-F", "raw", folder.path("vm/top"))
    #expect(rebase.succeeded, "\(rebase.output)")
    let info = try ExternalProgram("qemu-img").run("info", "--backing-chain", folder.path("vm/top"))
    #expect(info.output.contains("image: \(folder.path("vm/../store/deep/base"))\n"), "\(info.output)")
    #expect(try open().map(\.path) == [folder.path("vm/top"), folder.path("store/deep/base")])
  }
}
