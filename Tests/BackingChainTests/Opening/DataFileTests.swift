import BackingChain
import HostStorage
import ImageFormat
import TestSupport
import Testing

@Suite struct DataFileTests {
  let folder: ImageFolder
  let allowing = ChainOptions.reading.with { $0.allowsDataFile = true }
  init() throws { folder = try ImageFolder() }

  private func image(_ name: String, dataFile: String) throws -> String {
    try folder.create(folder.path(name), options: "data_file=\(dataFile)")
  }

  @Test func aDataFileIsNotOpenedUnasked() throws {
    let error = refusal(try image("top", dataFile: folder.path("data")))
    #expect(error?.code == .refusedName)
    #expect(error?.message.contains("`-o data-file=allow`") == true)
  }

  @Test func anAllowedDataFileHoldsTheData() throws {
    let top = try image("top", dataFile: folder.path("data"))
    let layer = try #require(try ChainOpener.open(path: top, options: allowing).layers.first)
    #expect(layer.image.dataStorage.path == folder.path("data"))
  }

  @Test func aDataFileElsewhereIsRefusedAndLeftAlone() throws {  // E06a
    let outside = try ImageFolder()
    let top = try image("top", dataFile: outside.path("canary"))
    let canary = try outside.raw("canary", filledWith: 7)
    var options = ChainOptions()
    options.allowsDataFile = true
    #expect(refusal(top, options)?.code == .refusedName)
    let bytes = try FileStorage.open(canary, readOnly: true).bytes(count: 65536)
    #expect(bytes == [UInt8](repeating: 7, count: 65536))
  }

  @Test func bothObjectionsToADataFileAreSaidAtOnce() throws {
    let outside = try ImageFolder()
    let message = refusal(try image("top", dataFile: outside.path("data")))?.message
    #expect(message?.contains("`-o data-file=allow,backing-root=\(outside.path)`") == true)
  }

  @Test func aDataFileThatIsALayerIsRefused() throws {
    let base = try folder.raw("base")
    let top = try image("upper", dataFile: folder.path("data"))
    try folder.remove("data")
    _ = try folder.link("data", to: base)
    let rebased = try ExternalProgram("qemu-img").run("rebase", "-u", "-b", "base", "-F", "raw", top)
    #expect(rebased.succeeded, "\(rebased.output)")
    #expect(refusal(top, allowing)?.code == .loop)
  }
}
