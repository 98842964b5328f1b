import Testing

/// How files look: their size, names and comments.
@Suite struct ShapeTests {
  static let longestFile = 400
  /// A file that is allowed to be longer, how long, and why it is not two files.
  static let longFiles: [String: (lines: Int, reason: String)] = [:]

  @Test func filesAreShort() {
    for file in SourceTree.swift {
      let limit = Self.longFiles[file.path]?.lines ?? Self.longestFile
      #expect(file.lines.count <= limit, "\(file.path): split it by concern into Type+Concern.swift")
    }
  }

  static let longestFunction = 70
  /// "path:function's first line" is too brittle; a file's longest function, and why it is one.
  static let longFunctions: [String: (lines: Int, reason: String)] = [:]

  @Test func functionsAreShort() {
    for file in SourceTree.swift {
      let limit = Self.longFunctions[file.path]?.lines ?? Self.longestFunction
      for (line, length) in file.functions where length > limit {
        Issue.record("\(file.path):\(line) has \(length) lines; give a part of it a name of its own")
      }
    }
  }

  @Test func namesSayWhatIsInside() {
    for path in SourceTree.paths where path.contains(/(Util|Helper|Common|Misc|Manager)s?\b/) {
      Issue.record("\(path): name it after what it is")
    }
    for file in SourceTree.swift {
      for place in file.places(of: /\b(class|struct|enum|protocol|actor) \w*(Util|Helper|Common|Misc|Manager)s?\b/) {
        Issue.record("\(place): name the type after what it is")
      }
    }
  }

  @Test func everyModuleOpensWithItsParagraph() {
    for module in Set(SourceTree.sources.map(\.module)) {
      let file = SourceTree.sources.first {
        $0.module == module && $0.name.lowercased() == "\(module.lowercased()).swift"
      }
      let lines = file?.lines ?? []
      let paragraph = lines.prefix { $0.hasPrefix("//") }
      #expect(lines.first?.hasPrefix("// \(module): ") == true, "\(module)/\(module).swift says what the module is")
      #expect(paragraph.count >= 3, "\(module)/\(module).swift: what it is, its invariant, its lock order")
    }
  }

  /// Files whose functions need no comment, and why.
  static let plainFiles: [String: String] = [
    "Sources/HostStorage/Units.swift": "arithmetic; the names and types say all"
  ]

  /// What keeps a contract is documented where the contract stands.
  static let required: Set<Substring> = Set(
    SourceTree.sources.flatMap { file in
      file.code.split { $0 == "}" }.filter { $0.contains { $0.contains(/^(package )?protocol\b/) } }
        .joined().compactMap { $0.firstMatch(of: /^  func (\w+)/)?.1 }
    })

  @Test func packageDeclarationsAreDocumented() {
    let declaration =
      /^\s*package ((final|static|mutating|consuming|borrowing) )*(struct|enum|class|protocol|func) (?<name>\w+)/
    for file in SourceTree.sources where Self.plainFiles[file.path] == nil {
      for (index, line) in file.code.enumerated() {
        guard let match = line.firstMatch(of: declaration), !Self.required.contains(match.name) else { continue }
        let above = file.lines[..<index].last { !$0.contains(/^\s*@/) } ?? ""
        if !above.contains("///") {
          Issue.record("\(file.path):\(index + 1): a `///` line that says shapes, units, errors")
        }
      }
    }
  }

  /// Swift 6.3 specialises generic code of another module only where that is public and inlinable: unspecialised, units and
  /// locks cost half of a read.
  private static let genericFiles: Set = [
    "Sources/HostStorage/Units.swift", "Sources/HostStorage/Monitor.swift", "Sources/HostStorage/Lock.swift",
    "Sources/ImageFormat/Units.swift",
  ]

  @Test func nothingIsPublic() {
    for file in SourceTree.sources where !Self.genericFiles.contains(file.path) {
      for place in file.places(of: /^\s*(public|open)\s+[a-z]/) { Issue.record("\(place): `package` is wide enough") }
    }
  }
}
