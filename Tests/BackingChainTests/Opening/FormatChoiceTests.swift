import BackingChain
import Foundation
import ImageFormat
import TestSupport
import Testing

@Suite struct FormatChoiceTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  private func formats(_ path: String, _ options: ChainOptions = .reading) throws -> [String] {
    try ChainOpener.open(path: path, options: options).layers.map(\.image.format)
  }

  @Test func aQcow2ImageIsKnownByItsMagic() throws {
    #expect(try formats(folder.create(folder.path("disk.img"))) == ["qcow2"])
  }

  @Test(arguments: ["disk.raw", "disk.RAW"]) func anImageNamedRawIsRawWhateverItBeginsWith(name: String) throws {
    #expect(try formats(folder.create(folder.path(name))) == ["raw"])
  }

  @Test func aLinkToAnImageNamedRawIsRaw() throws {
    try folder.create(folder.path("disk.raw"))
    #expect(try formats(folder.link("disk", to: "disk.raw")) == ["raw"])
  }

  @Test func otherBytesAreRefusedAndTheOptionIsShown() throws {
    let error = refusal(try folder.raw("disk.img"))
    #expect(error?.code == .unknownFormat)
    #expect(error?.message.contains("`-o format=FMT`") == true)
  }

  @Test func theStatedFormatIsTaken() throws {
    let path = try folder.raw("disk.img")
    #expect(try formats(path, .reading.with { $0.format = "raw" }) == ["raw"])
    #expect(refusal(path, .reading.with { $0.format = "qcow2" })?.code == .image)
    #expect(refusal(path, .reading.with { $0.format = "vmdk" })?.code == .unknownFormat)
  }

  @Test func aBaseThatIsRecordedAsRawStaysRawWhateverAGuestWroteIntoIt() throws {  // C13
    try folder.create(folder.path("base.img"))
    #expect(try formats(folder.overlay("top.qcow2", on: "base.img", format: "raw")) == ["qcow2", "raw"])
  }

  @Test func aBaseWithoutARecordedFormatIsRefusedAndNeverProbed() throws {  // C11, C12
    try folder.create(folder.path("base.img"))
    let top = try folder.overlay("top.qcow2", on: "base.img", format: nil)
    let error = refusal(top)
    #expect(error?.code == .unknownFormat)
    #expect(error?.message.contains("`qemu-img rebase -u -b base.img -F FMT \(top)`") == true)
  }

  @Test func theWayOutForAMissingFormatWorks() throws {
    try folder.raw("the base.img")
    let top = try folder.overlay("top.qcow2", on: "the base.img", format: nil)
    let message = try #require(refusal(top)?.message)
    let command = String(try #require(message.firstMatch(of: /`(.*)`/)?.output.1))
    let run = try ExternalProgram("sh").run("-c", command.replacing("FMT", with: "raw"))
    #expect(run.succeeded, "\(run.output)")
    #expect(try formats(top) == ["qcow2", "raw"])
  }

  @Test func givenFormatsGoToTheLayersThatRecordNoneTopDown() throws {
    try folder.raw("base")
    try folder.overlay("low", on: "base", format: nil)
    try folder.overlay("middle", on: "low", format: "qcow2")
    let top = try folder.overlay("top", on: "middle", format: nil)
    let options = ChainOptions.reading.with { $0.backingFormats = ["qcow2", "raw"] }
    #expect(try formats(top, options) == ["qcow2", "qcow2", "qcow2", "raw"])
    #expect(try ChainOpener.open(path: top, options: options).notes == [])
  }

  @Test func aGivenFormatThatNoLayerNeedsIsNoted() throws {
    try folder.raw("base")
    let top = try folder.overlay("top", on: "base", format: "raw")
    let chain = try ChainOpener.open(path: top, options: .reading.with { $0.backingFormats = ["qcow2"] })
    #expect(chain.notes.count == 1)
  }

  @Test(arguments: ["vmdk", "file", "qcow", "RAW"]) func anUnknownFormatIsRefusedByName(format: String) throws {
    try folder.raw("base")
    #expect(refusal(try folder.overlay("top", on: "base", format: format))?.code == .unknownFormat)
  }

  @Test func aFormatInsideAJSONNameCounts() throws {
    try folder.raw("base")
    let name = #"json:{"driver":"raw","file":{"driver":"file","filename":"base"}}"#
    #expect(try formats(folder.overlay("top", on: name, format: nil)) == ["qcow2", "raw"])
    #expect(refusal(try folder.overlay("other", on: name, format: "qcow2"))?.code == .unknownFormat)
  }
}
