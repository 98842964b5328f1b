import BackingChain
import Foundation
import Testing

/// An image that is named by a symbolic link: QEMU looks relative names up where the link is, mount(8) hides it.
@Suite struct SymbolicLinkTests {
  let folder: ImageFolder
  init() throws {
    folder = try ImageFolder()
    _ = try folder.folder("store")
    _ = try folder.folder("vm")
    try folder.overlay("store/top", on: "base")
    _ = try folder.link("vm/top", to: "../store/top")
  }

  @Test func theBackingFileMayLieWhereTheLinkIs() throws {
    try folder.raw("vm/base")
    let layers = try ChainOpener.open(path: folder.path("vm/top"), options: .reading).layers
    #expect(layers.map(\.path) == [folder.path("store/top"), folder.path("vm/base")])
    #expect(layers[0].place?.directory == HostPath(folder.path("vm")))
  }

  @Test func theBackingFileMayLieWhereTheImageIs() throws {
    try folder.raw("store/base")
    let layers = try ChainOpener.open(path: folder.path("vm/top"), options: .reading).layers
    #expect(layers.map(\.path) == [folder.path("store/top"), folder.path("store/base")])
    #expect(layers[0].place?.directory == HostPath(folder.path("store")))
  }

  @Test func twoDifferentFilesAreNotChosenFrom() throws {
    try folder.raw("vm/base")
    try folder.raw("store/base")
    #expect(refusal(folder.path("vm/top"))?.code == .refusedName)
    #expect(refusal(folder.path("store/top")) == nil)
  }

  @Test func oneFileByBothWaysIsFine() throws {
    try folder.raw("vm/base")
    _ = try folder.link("store/base", to: "../vm/base")
    #expect(refusal(folder.path("vm/top")) == nil)
  }

  @Test func aLinkToABackingImageGivesItBothDirectories() throws {
    try folder.raw("vm/base")
    try folder.overlay("upper", on: "vm/top", format: "qcow2")
    #expect(
      try ChainOpener.open(path: folder.path("upper"), options: .reading).layers.map(\.path)
        == ["upper", "store/top", "vm/base"].map(folder.path))
  }
}
