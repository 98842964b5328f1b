import BackingChain
import Foundation
import ImageFormat
import Testing

/// An image that is passed as an open descriptor: it has no directory.
@Suite struct DescriptorTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  private func opened(_ path: String) throws -> (handle: FileHandle, name: String) {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    return (handle, "/dev/fd/\(handle.fileDescriptor)")
  }

  @Test(arguments: ["/dev/fd", "/proc/self/fd"]) func aDescriptorIsOpenedWithoutAPlace(directory: String) throws {
    let image = try opened(folder.create(folder.path("top")))
    let chain = try ChainOpener.open(
      path: "\(directory)/\(image.handle.fileDescriptor)", options: ChainOptions())
    #expect(chain.active != nil)
    #expect(chain.layers[0].place == nil)
  }

  @Test func aDescriptorOfARawImageGoesByTheImagesName() throws {
    let image = try opened(folder.create(folder.path("disk.raw")))
    #expect(try ChainOpener.open(path: image.name, options: .reading).layers[0].image.format == "raw")
  }

  @Test func aRelativeNameInItIsRefusedWithTheWayOut() throws {
    try folder.raw("base")
    let image = try opened(folder.overlay("top", on: "base"))
    let error = refusal(image.name)
    #expect(error?.code == .refusedName)
    #expect(error?.message.contains("pass its path") == true)
  }

  @Test func anAbsoluteNameInItNeedsABackingRoot() throws {
    let base = try folder.raw("base")
    let image = try opened(folder.overlay("top", on: base))
    #expect(refusal(image.name)?.message.contains("`-o backing-root=\(folder.path)`") == true)
    let layers = try ChainOpener.open(path: image.name, options: .reading.with { $0.backingRoots = [folder.path] })
      .layers
    #expect(try BackingFileStrings(of: layers).automaticBacking(for: layers[1]).name == Array(base.utf8))
  }

  @Test func aNameInItMayNotLeadBackToIt() throws {
    let image = try opened(folder.overlay("top", on: folder.path("top"), format: "qcow2"))
    #expect(refusal(image.name, .reading.with { $0.backingRoots = [folder.path] })?.code == .loop)
  }

  @Test func aDescriptorThatIsNotOpenIsRefused() { #expect(refusal("/dev/fd/987654") != nil) }
}
