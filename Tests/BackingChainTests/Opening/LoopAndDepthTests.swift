import BackingChain
import Foundation
import TestSupport
import Testing

@Suite struct LoopAndDepthTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  @Test func anImageThatIsItsOwnBackingFileIsRefused() throws {  // C01
    #expect(refusal(try folder.overlay("top", on: "top", format: "qcow2"))?.code == .loop)
  }

  @Test func twoImagesBelowEachOtherAreRefused() throws {  // C02
    try folder.overlay("a", on: "b", format: "qcow2")
    try folder.overlay("b", on: "a", format: "qcow2")
    let error = refusal(folder.path("a"))
    #expect(error?.code == .loop)
    #expect(error?.message.contains(folder.path("a")) == true)
  }

  @Test(arguments: [true, false]) func anImageBelowItselfByAnotherNameIsRefused(isHardLink: Bool) throws {  // C03, C04
    let top = try folder.overlay("top", on: "other", format: "qcow2")
    if isHardLink {
      try FileManager.default.linkItem(atPath: top, toPath: folder.path("other"))
    } else {
      _ = try folder.link("other", to: "top")
    }
    #expect(refusal(top)?.code == .loop)
  }

  private func chain(depth: Int) throws -> String {
    try folder.raw("0")
    let first = try folder.overlay("1", on: "0")
    let image = [UInt8](try Data(contentsOf: URL(filePath: first)))
    let name = try #require(image.lastIndex(of: UInt8(ascii: "0")))
    for layer in 2..<depth {
      var copy = image
      copy.replaceSubrange(name...(name + 3), with: (String(layer - 1) + "\0\0\0").utf8.prefix(4))
      copy[19] = UInt8(String(layer - 1).utf8.count)
      copy.replaceSubrange(112..<130, with: [0xE2, 0x79, 0x2A, 0xCA, 0, 0, 0, 5] + Array("qcow2\0\0\0\0\0".utf8))
      _ = try folder.directory.file(String(layer), copy)
    }
    return folder.path(String(depth - 1))
  }

  @Test func asManyLayersAsAllowedAreOpened() throws {  // C20
    let top = try chain(depth: 256)
    #expect(try ChainOpener.open(path: top, options: .reading).layers.count == 256)
    let error = refusal(top, .reading.with { $0.maxDepth = 255 })
    #expect(error?.code == .tooDeep)
    #expect(error?.message.contains("max-depth=510") == true)
  }

  @Test func aLayerBelowTheMountpointIsRefused() throws {
    _ = try folder.folder("mnt")
    try folder.raw("mnt/base")
    let top = try folder.overlay("top", on: "mnt/base")
    #expect(refusal(top, .reading.with { $0.mountpoint = folder.path("mnt") })?.code == .loop)
    #expect(refusal(top, .reading.with { $0.mountpoint = folder.path })?.code == .loop)
    #expect(refusal(top) == nil)
  }

  @Test func aMountpointThatIsTheImageItselfIsRefused() throws {
    let top = try folder.create(folder.path("top"))
    #expect(refusal(top, .reading.with { $0.mountpoint = top })?.code == .loop)
  }

  @Test func noBackingOpensTheTopAloneToBeRead() throws {
    let top = try folder.overlay("top", on: "nowhere")
    var options = ChainOptions()
    options.ignoresBacking = true
    let chain = try ChainOpener.open(path: top, options: options)
    #expect(chain.layers.count == 1)
    #expect(chain.active == nil)
    #expect(chain.notes.count == 1)
  }
}
