import BackingChain
import Glibc
import TestSupport
import Testing

@Suite struct LockTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  private func chain() throws -> String {
    try folder.raw("base")
    return try folder.overlay("top", on: "base")
  }

  @Test func aSecondWriterIsRefusedAndTheFirstIsNamed() throws {  // C29
    let top = try chain()
    let first = try ChainOpener.open(path: top, options: ChainOptions())
    let error = refusal(top, ChainOptions())
    #expect(first.active != nil)
    #expect(error?.code == .locked)
    #expect(error?.message.contains("process \(getpid())") == true)
    #expect(refusal(top)?.code == .locked)
  }

  @Test func readersShareAndWritersOfABaseAreKeptOut() throws {
    let top = try chain()
    let first = try ChainOpener.open(path: top, options: .reading)
    #expect(refusal(top) == nil)
    #expect(refusal(folder.path("base"), .reading.with { $0.format = "raw" }) == nil)
    #expect(refusal(folder.path("base"), ChainOptions().with { $0.format = "raw" })?.code == .locked)
    #expect(first.layers.count == 2)
  }

  @Test func twoWrittenImagesShareTheirBase() throws {
    let top = try chain()
    let other = try folder.overlay("other", on: "base")
    let first = try ChainOpener.open(path: top, options: ChainOptions())
    #expect(try ChainOpener.open(path: other, options: ChainOptions()).layers.count == first.layers.count)
  }

  @Test func qemuIsKeptOutOfAWrittenImage() throws {
    let top = try chain()
    let chain = try ChainOpener.open(path: top, options: ChainOptions())
    let write = try ExternalProgram("qemu-io").run("-f", "qcow2", "-c", "write 0 4k", top)
    #expect(write.output.contains("lock"))
    #expect(chain.active != nil)
  }

  @Test func lockOffIsForReadingOnly() throws {
    let top = try chain()
    let first = try ChainOpener.open(path: top, options: ChainOptions())
    #expect(refusal(top, ChainOptions().with { $0.locks = false })?.code == .usage)
    #expect(refusal(top, .reading.with { $0.locks = false }) == nil)
    #expect(first.active != nil)
  }

  @Test func aRefusedChainLeavesNothingLocked() throws {
    let top = try folder.overlay("top", on: "nowhere")
    #expect(refusal(top, ChainOptions()) != nil)
    try folder.raw("nowhere")
    #expect(refusal(top, ChainOptions()) == nil)
  }
}
