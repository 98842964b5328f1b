import Foundation
import HostStorage
import TestSupport
import Testing

@testable import BackingChain

/// Random ways through a folder with links that lead in and out, next to another folder that is there or is not.
@Suite struct PlacePolicyTests {
  let top: ImageFolder
  let inside: HostPath
  private static let words = [
    "..", "..", ".", "in", "out", "sub", "base", "dir", "canary", "toSub", "toOut", "toCanary", "toBase", "nothing",
  ]

  init() throws {
    top = try ImageFolder()
    inside = HostPath(top.path("in"))
    _ = try top.folder("in/sub")
    for file in ["in/base", "in/sub/base"] { try top.raw(file) }
    let links = [
      "toSub": "sub", "toOut": "../out", "toCanary": top.path("out/dir/canary"), "toBase": top.path("in/sub/base"),
    ]
    for (name, target) in links { _ = try top.link("in/\(name)", to: target) }
    try makeOutside()
  }

  private func makeOutside() throws {
    _ = try top.folder("out/dir")
    try top.raw("out/dir/canary")
  }

  private func outcome(_ name: HostPath) -> String {
    switch PlacePolicy(roots: []).find(inside.appending(name), directories: [inside]) {
    case .found(let file): "found \(HostPath(file.resolvedPath))"
    case .missing(let error): "missing \(error.errno)"
    case .outOfBounds: "out of bounds"
    }
  }

  @Test func noNameOpensOrTellsAnythingOutside() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    let names = (0..<1000).map { _ in
      let words = (0..<Int.random(in: 1...7, using: &random)).map { _ in Self.words.randomElement(using: &random) ?? ""
      }
      return HostPath((Bool.random(using: &random) ? "" : top.path + "/in/") + words.joined(separator: "/"))
    }
    let before = names.map(outcome)
    try top.remove("out")
    let without = names.map(outcome)
    try makeOutside()
    for (name, (before, without)) in zip(names, zip(before, without)) {
      #expect(before == without, "\(name), seed \(seed)")
      #expect(!before.hasPrefix("found") || before.hasPrefix("found \(inside)"), "\(name), seed \(seed)")
    }
    #expect(before.contains { $0.hasPrefix("found") })
    #expect(before.contains { $0.hasPrefix("missing") })
    #expect(before.contains("out of bounds"))
  }
}
