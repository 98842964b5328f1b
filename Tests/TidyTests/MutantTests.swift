import Testing

/// The patches that break the engine on purpose, which `make mutants` runs.
@Suite struct MutantTests {
  static let patches = SourceTree.paths.filter { $0.hasPrefix("Tests/Mutants/") && $0.hasSuffix(".patch") }

  @Test(arguments: patches) func aMutantAppliesAndNamesTestsThatExist(_ path: String) {
    let parts = SourceTree.text(path).split(separator: "\ndiff --git ", maxSplits: 1).map(String.init)
    let named = parts[0].firstMatch(of: /(?m)^Caught by: (\w+)/).map { String($0.1) }
    #expect(SourceTree.paths.contains { $0.hasPrefix("Tests/\(named ?? "?")/") }, "\(path) is caught by nobody")
    for file in parts.last?.split(separator: "\n--- a/").dropFirst() ?? [] {
      let source = SourceTree.text(String(file.prefix { $0 != "\n" }))
      for hunk in file.split(separator: /\n@@[^\n]*/).dropFirst() {
        let old = hunk.split(separator: "\n", omittingEmptySubsequences: false)
          .filter { $0.hasPrefix(" ") || $0.hasPrefix("-") }.map { $0.dropFirst() }.joined(separator: "\n")
        #expect(source.contains(old), "\(path) does not apply; make it anew")
      }
    }
  }
}
