import Foundation
import Testing

/// What is written beside the code.
@Suite struct DocumentTests {
  @Test func linksLeadSomewhere() {
    for document in SourceTree.documents {
      let folder = URL(filePath: document, relativeTo: URL(filePath: SourceTree.root + "/")).deletingLastPathComponent()
      for link in SourceTree.text(document).matches(of: /\]\(([^)\s]+)\)/).map({ String($0.1) }) {
        if link.hasPrefix("http") { continue }
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let target = parts[0].isEmpty ? "\(SourceTree.root)/\(document)" : folder.appending(path: String(parts[0])).path
        guard FileManager.default.fileExists(atPath: target) else {
          Issue.record("\(document) links to \(link), which is not there")
          continue
        }
        if parts.count == 2 {
          let text = (try? String(contentsOfFile: target, encoding: .utf8)) ?? ""
          #expect(Self.anchors(of: text).contains(String(parts[1])), "\(document) links to \(link)")
        }
      }
    }
  }

  @Test func namedDocumentsExist() {
    for path in SourceTree.paths where !path.hasPrefix("Tests/TidyTests/") && !path.hasSuffix(".md") {
      for named in SourceTree.text(path).matches(of: /docs\/[\w\/-]+\.(md|sh)/).map({ String($0.0) }) {
        if !SourceTree.paths.contains(named) { Issue.record("\(path) names \(named), which is not there") }
      }
    }
  }

  @Test func nothingNamesAPrivateMachine() {
    let privatePlaces = /\/(home|root|Users|work)\/\w|\.internal\b|localhost:\d/
    for path in SourceTree.paths where !path.hasPrefix("Tests/TidyTests/") && path != "LICENSE" {
      for (index, line) in SourceTree.text(path).split(separator: "\n", omittingEmptySubsequences: false).enumerated()
      where line.contains(privatePlaces) {
        Issue.record("\(path):\(index + 1) names a place on somebody's machine")
      }
    }
  }

  @Test func builtFilesAreNotKept() {
    for path in SourceTree.paths where path.contains(/(^|\/)(\.build|Package\.resolved|default\.profraw)/) {
      Issue.record("\(path) is made by the build; it belongs in .gitignore")
    }
  }

  @Test func topLevelStaysShort() {
    let folders = Set(SourceTree.paths.filter { $0.contains("/") }.map { String($0.split(separator: "/")[0]) })
    #expect(folders.subtracting(["Sources", "Tests", "mount-helpers", "docs", ".ci"]).isEmpty)
  }

  /// The anchors that a forge makes of the headings of a document.
  private static func anchors(of text: String) -> Set<String> {
    Set(
      text.split(separator: "\n").filter { $0.hasPrefix("#") }.map { heading in
        heading.drop { $0 == "#" }.trimmingCharacters(in: .whitespaces).lowercased()
          .filter { $0.isLetter || $0.isNumber || $0 == " " || $0 == "-" || $0 == "_" }.replacing(" ", with: "-")
      })
  }
}
