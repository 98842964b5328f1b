import Testing

/// Which room may import which: the arrows of docs/architecture.md.
@Suite struct ArrowTests {
  static let arrows: [String: Set<String>] = [
    "HostStorage": ["CLinux"],
    "ImageFormat": ["HostStorage"],
    "RawFormat": ["ImageFormat", "HostStorage"],
    "Qcow2Format": ["ImageFormat", "HostStorage", "CDeflate", "CZlib", "CZstd"],
    "BackingChain": ["RawFormat", "Qcow2Format", "ImageFormat", "HostStorage"],
    "StreamJob": ["BackingChain", "ImageFormat", "HostStorage"],
    "FUSESession": ["CFUSE", "HostStorage"],
    "DiskExport": ["StreamJob", "FUSESession", "BackingChain", "ImageFormat", "HostStorage"],
    "flatcow": [
      "DiskExport", "StreamJob", "FUSESession", "BackingChain", "Qcow2Format", "ImageFormat", "HostStorage",
      "ArgumentParser",
      "Logging",
    ],
  ]

  /// Part of the language, the system and its errors.
  static let everywhere: Set<String> = ["Glibc", "Synchronization"]

  @Test func roomsImportOnlyAlongTheArrows() {
    for file in SourceTree.sources {
      let allowed = Self.arrows[file.module, default: []].union(Self.everywhere)
      for (line, module) in file.imports where !allowed.contains(module) {
        Issue.record("\(file.path):\(line) imports \(module); \(file.module) may import \(allowed.sorted())")
      }
    }
  }

  @Test func everyRoomHasItsArrows() {
    let rooms = Set(SourceTree.sources.map(\.module))
    #expect(rooms == Set(Self.arrows.keys))
  }
}
