import BackingChain
import Foundation
import ImageFormat
import TestSupport
import Testing

@Suite struct ActiveImageTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  @Test(arguments: ["qcow2", "raw"]) func theTopIsWritableUnlessItIsOpenedToBeRead(format: String) throws {
    let top = try format == "raw" ? folder.raw("top") : folder.create(folder.path("top"))
    let stating = ChainOptions().with { $0.format = format }
    let chain = try ChainOpener.open(path: top, options: stating)
    #expect(chain.active === chain.layers[0].image)
    for layer in chain.layers { layer.close() }
    #expect(try ChainOpener.open(path: top, options: stating.with { $0.isReadOnly = true }).active == nil)
  }

  private func withBitmap() throws -> String {
    let top = try folder.overlay("top", on: "base")
    try folder.raw("base")
    let added = try ExternalProgram("qemu-img").run("bitmap", "--add", top, "backup")
    #expect(added.succeeded, "\(added.output)")
    return top
  }

  @Test func dirtyBitmapsAreNotMadeWrongUnasked() throws {
    let error = refusal(try withBitmap(), ChainOptions())
    #expect(error?.code == .image)
    #expect(error?.message.contains("`-o bitmaps=drop`") == true)
  }

  @Test func dirtyBitmapsAreDroppedWhenAskedAndThatIsNoted() throws {
    let chain = try ChainOpener.open(path: withBitmap(), options: ChainOptions().with { $0.dropsBitmaps = true })
    #expect(chain.notes.count == 1)
    #expect(chain.active != nil)
  }

  @Test func dirtyBitmapsDoNotMatterToAReader() throws { #expect(refusal(try withBitmap()) == nil) }

  @Test func anImageThatWasLeftDirtyIsRepairedAndThatIsNoted() throws {
    let top = try folder.create(folder.path("top"), options: "compat=1.1,lazy_refcounts=on")
    let killed = try ExternalProgram("qemu-io").run(
      "-f", "qcow2", "-c", "write 0 64k", "-c", "flush", "-c", "sigraise 9", top)
    #expect(!killed.succeeded)
    #expect(try ChainOpener.open(path: top, options: .reading).notes == [])
    #expect(try ChainOpener.open(path: top, options: ChainOptions()).notes.count == 1)
    let check = try ExternalProgram("qemu-img").run("check", top)
    #expect(check.succeeded, "\(check.output)")
  }

  @Test func nothingIsWrittenWhenALowerLayerIsRefused() throws {
    let top = try folder.overlay("top", on: "middle", format: "qcow2", options: "compat=1.1,lazy_refcounts=on")
    try folder.overlay("middle", on: "nowhere")
    let before = try Data(contentsOf: URL(filePath: top))
    #expect(refusal(top, ChainOptions())?.code == .notFound)
    #expect(try Data(contentsOf: URL(filePath: top)) == before)
  }

  @Test func aDirectoryThatIsNotThereCannotBeABackingRoot() throws {
    let top = try folder.create(folder.path("top"))
    #expect(refusal(top, .reading.with { $0.backingRoots = [folder.path("nowhere")] })?.code == .notFound)
  }
}
