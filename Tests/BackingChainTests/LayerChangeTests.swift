import BackingChain
import Foundation
import HostStorage
import TestSupport
import Testing

@Suite struct LayerChangeTests {
  let folder: ImageFolder
  let layers: [Layer]

  init() throws {
    folder = try ImageFolder()
    try folder.raw("base")
    layers = try ChainOpener.open(path: folder.overlay("top", on: "base"), options: .reading).layers
  }

  @Test func anUntouchedLayerHasNotChanged() throws {
    #expect(try layers[1].changeSinceOpening() == nil)
    #expect(try layers[0].lossOfName() == nil)
  }

  @Test func aLayerThatWasWrittenIsToldWithBothTimes() throws {
    let touch = try ExternalProgram("touch").run("-d", "@1000000000.5", folder.path("base"))
    #expect(touch.succeeded)
    #expect(try layers[1].changeSinceOpening()?.contains("now at @1000000000.500000000") == true)
  }

  @Test func aLayerThatWasCutIsToldWithBothSizes() throws {  // C27
    let cut = try ExternalProgram("truncate").run("-s", "100", folder.path("base"))
    #expect(cut.succeeded)
    #expect(try layers[1].changeSinceOpening()?.contains("its size was 65536 bytes and is 100") == true)
  }

  @Test func aLayerThatWasReplacedIsToldWithBothInodes() throws {  // C26
    try folder.raw("new")
    #expect(try ExternalProgram("mv").run(folder.path("new"), folder.path("base")).succeeded)
    let sentence = try #require(try layers[1].changeSinceOpening())
    #expect(sentence.contains("inode \(layers[1].opened.identity.inode) "))
    #expect(sentence.matches(of: /inode \d+/).count == 2)
  }

  @Test func aLayerThatWasDeletedIsTold() throws {
    try folder.remove("base")
    #expect(try layers[1].changeSinceOpening()?.contains("deleted") == true)
  }

  @Test func aLayerThatWasMovedHasNotChanged() throws {
    #expect(try ExternalProgram("mv").run(folder.path("base"), folder.path("elsewhere")).succeeded)
    #expect(try layers[1].changeSinceOpening() == nil)
  }

  @Test func aDeletedActiveImageIsToldWithACommandThatRescuesIt() throws {
    let before = try Data(contentsOf: URL(filePath: folder.path("top")))
    try folder.remove("top")
    let sentence = try #require(try layers[0].lossOfName())
    let command = String(try #require(sentence.firstMatch(of: /`(.*)`/)?.output.1))
    let copy = try ExternalProgram("sh").run("-c", command.replacing("COPY", with: folder.path("copy")))
    #expect(copy.succeeded, "\(copy.output)")
    #expect(try Data(contentsOf: URL(filePath: folder.path("copy"))) == before)
  }

  @Test func anExternalDataFileThatWasCutIsTold() throws {
    let image = try folder.create(folder.path("external"), options: "data_file=\(folder.path("data"))")
    let options = ChainOptions.reading.with { $0.allowsDataFile = true }
    let layers = try ChainOpener.open(path: image, options: options).layers
    #expect(try layers[0].changeSinceOpening() == nil)
    let cut = try ExternalProgram("truncate").run("-s", "100", folder.path("data"))
    #expect(cut.succeeded)
    #expect(try layers[0].changeSinceOpening()?.contains("of its external data file: its size was") == true)
  }
}
