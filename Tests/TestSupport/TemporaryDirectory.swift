package import Foundation

/// A directory of a test's own, removed with all that is in it when the last reference goes.
package final class TemporaryDirectory: Sendable {
  package let url: URL

  package init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "flatcow-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  package var path: String { url.path }

  /// The path of an entry, there or not.
  package func path(_ name: String) -> String { url.appending(path: name).path }

  /// Makes a file with these bytes, and says its path.
  package func file(_ name: String, _ bytes: [UInt8] = []) throws -> String {
    try Data(bytes).write(to: url.appending(path: name))
    return path(name)
  }
}
