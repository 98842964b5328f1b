import BackingChain
import Foundation
import HostStorage
import TestSupport
import Testing

/// Names inside images lead to files beside or below them, and nowhere else unless the operator says so.
@Suite struct PlaceTests {
  let folder: ImageFolder
  let outside: ImageFolder
  init() throws {
    folder = try ImageFolder()
    outside = try ImageFolder()
  }

  private func paths(_ top: String, _ options: ChainOptions = .reading) throws -> [String] {
    try ChainOpener.open(path: top, options: options).layers.map(\.path)
  }

  @Test(arguments: ["base", "./base", "file:base", "sub/../base", "sub/below", "a b'c\u{e9}"])
  func aNameBesideOrBelowTheImageIsFollowed(name: String) throws {
    _ = try folder.folder("sub")
    for file in ["base", "sub/below", "a b'c\u{e9}"] { try folder.raw(file) }
    #expect(try paths(folder.overlay("top", on: name)).count == 2)
  }

  @Test func aRelativeNameIsLookedUpFromTheImageThatRecordsIt() throws {
    _ = try folder.folder("sub")
    try folder.raw("base", filledWith: 1)
    try folder.raw("sub/base", filledWith: 2)
    try folder.overlay("sub/middle", on: "base")
    #expect(try paths(folder.overlay("top", on: "sub/middle", format: "qcow2")).last == folder.path("sub/base"))
  }

  @Test func anAbsoluteNameIsFollowedInsideTheDirectory() throws {
    #expect(try paths(folder.overlay("top", on: folder.raw("base"))) == [folder.path("top"), folder.path("base")])
  }

  @Test func aNameOfStrangeBytesIsFollowedAndShownEscaped() throws {  // C18, C18b
    let name: [UInt8] = Array("a\nb".utf8) + [0xFF, 0xFE]
    let made = try ExternalProgram("sh").run("-c", #"printf x > "$(printf 'a\nb\377\376')""#, in: folder.directory.url)
    #expect(made.succeeded)
    #expect(try paths(folder.overlay("top", on: name)).last == folder.path + #"/a\x0ab\xff\xfe"#)
  }

  @Test(arguments: ["relative", "absolute", "link", "linked folder"])
  func aRefusalReadsTheSameWhetherOrNotTheFileExists(kind: String) throws {  // C16
    let canary = try outside.raw("canary")
    let up = String(repeating: "../", count: folder.path.count(where: { $0 == "/" }))
    let name =
      switch kind {
      case "relative": up + canary.dropFirst()
      case "absolute": canary
      case "link": try URL(filePath: folder.link("link", to: canary)).lastPathComponent
      default: try URL(filePath: folder.link("link", to: outside.path)).lastPathComponent + "/canary"
      }
    let top = try folder.overlay("top", on: name)
    let there = try #require(refusal(top))
    try outside.remove("canary")
    let gone = try #require(refusal(top))
    try FileManager.default.createDirectory(atPath: canary, withIntermediateDirectories: false)
    let directory = try #require(refusal(top))
    #expect(there.code == .refusedName)
    #expect(there.message == gone.message)
    #expect(there.message == directory.message)
  }

  @Test func aFileOutOfBoundsIsNotRead() throws {
    let canary = try outside.raw("canary")
    let old = [FileAttributeKey.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)]
    try FileManager.default.setAttributes(old, ofItemAtPath: canary)
    let touch = try ExternalProgram("touch").run("-a", "-d", "2001-01-01", canary)
    #expect(touch.succeeded)
    #expect(refusal(try folder.overlay("top", on: canary, format: "qcow2"))?.code == .refusedName)
    #expect(try ExternalProgram("stat").run("-c", "%x", canary).output.hasPrefix("2001-01-01"))
  }

  @Test func aBackingRootAllowsWhatLiesInIt() throws {
    let top = try folder.overlay("top", on: outside.raw("base"))
    let options = ChainOptions.reading.with { $0.backingRoots = [outside.path] }
    #expect(try paths(top, options).last == outside.path("base"))
  }

  @Test func theMountOptionInARefusalWorks() throws {
    let top = try folder.overlay("top", on: outside.raw("base"))
    let message = try #require(refusal(top)?.message)
    let root = String(try #require(message.firstMatch(of: /`-o backing-root=(.*)`/)?.output.1))
    #expect(try paths(top, .reading.with { $0.backingRoots = [root] }).count == 2)
  }

  @Test func aDirectoryWithALongerNameIsNotInside() throws {
    _ = try folder.folder("images")
    _ = try folder.folder("images2")
    try folder.raw("images2/base")
    #expect(refusal(try folder.overlay("images/top", on: "../images2/base"))?.code == .refusedName)
  }

  @Test func aTrustedChainMayLeadAnywhere() throws {
    let top = try folder.overlay("top", on: folder.link("link", to: outside.raw("base")))
    #expect(refusal(top)?.message.contains("`-o trust-chain`") == true)
    #expect(try paths(top, .reading.with { $0.trustsChain = true }).last == outside.path("base"))
  }

  @Test func aMissingFileInBoundsIsSaidToBeMissing() throws {
    let error = refusal(try folder.overlay("top", on: "base"))
    #expect(error?.code == .notFound)
    #expect(error?.message.contains("\"base\"") == true)
  }

  @Test func aLinkThatLeadsInACircleIsRefused() throws {
    _ = try folder.link("one", to: "two")
    _ = try folder.link("two", to: "one")
    #expect(refusal(try folder.overlay("top", on: "one"))?.code == .refusedName)
  }

  @Test func everythingThatStandsInTheWayIsSaidAtOnce() throws {
    let top = try folder.overlay("top", on: outside.raw("base"), format: nil)
    let message = try #require(refusal(top)?.message)
    #expect(message.contains("qemu-img rebase -u -b"))
    #expect(message.contains("`-o backing-root=\(outside.path)`"))
  }

  @Test(arguments: [
    "nbd://127.0.0.1/x", "fat:dir", "blkdebug::base", "json:{\"driver\":\"null-co\"}", "NBD:x", ":base", "a b:c",
    "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\",\"host\":\"h\"}}", "json:{", "file:", "/dev/fdset/1",
    "/proc/self/mem", "/proc/self/fd/0", "/dev/zero", "/dev/tty",
  ])
  func whatIsNoFileNearbyIsRefused(name: String) throws {  // C07, C09, C10, C14, C15
    try folder.raw("base")
    let error = refusal(try folder.overlay("top", on: name))
    #expect(error?.code == .refusedName)
  }

  @Test(arguments: ["pipe", "socket", "folder", "."])
  func whatIsNoRegularFileIsRefusedAtOnce(kind: String) throws {  // C05, C06, C08
    switch kind {
    case "pipe": #expect(try ExternalProgram("mkfifo").run(folder.path("pipe")).succeeded)
    case "folder": _ = try folder.folder("folder")
    case "socket":
      #expect(
        try ExternalProgram("python3").run(
          "-c", "import socket; socket.socket(socket.AF_UNIX).bind('socket')", in: folder.directory.url
        ).succeeded)
    default: break
    }
    #expect(refusal(try folder.overlay("top", on: kind))?.code == .refusedName)
    #expect(refusal(folder.path(kind))?.code == .refusedName)
  }

  @Test func aNULByteInANameIsRefused() throws {  // C17
    try folder.raw("canary")
    #expect(refusal(try folder.overlay("top", on: "canary\0YZ"))?.code == .image)
  }

  @Test func aLayerThatCannotBeOpenedIsNamed() throws {
    #expect(refusal(folder.path("nothing"))?.code == .notFound)
    #expect(refusal(folder.path("nothing"))?.message.contains(folder.path("nothing")) == true)
  }
}
