import Foundation

/// What every measurement needs: programs, a directory, how often.
final class Bench {
  let tools: Tools
  let rounds: Int
  let directory: URL
  let cleanup: Cleanup
  let images: ImageStore
  /// Why somebody was left out.
  private(set) var notes: [String] = []

  init(tools: Tools, rounds: Int, directory: URL, cleanup: Cleanup) throws {
    (self.tools, self.rounds, self.directory, self.cleanup) = (tools, rounds, directory, cleanup)
    images = ImageStore(directory)
    logFile = directory.appending(path: "log")
    try Data().write(to: logFile)
    log = try FileHandle(forWritingTo: logFile)
  }

  /// What the servers say.
  let log: FileHandle
  let logFile: URL

  /// Says what is being done.
  func say(_ words: String) { FileHandle.standardError.write(Data("\(words)\n".utf8)) }

  /// Says so once, here and in the document.
  func note(_ words: String) {
    guard !notes.contains(words) else { return }
    notes.append(words)
    say(words)
  }

  /// Those of `peers` that the host has the programs of.
  func available(_ peers: [Peer]) -> [Peer] {
    peers.filter { peer in
      let missing = peer.missingPrograms(tools)
      if !missing.isEmpty { note("Without \(peer.rawValue): this host has no \(missing.joined(separator: ", ")).") }
      return missing.isEmpty
    }
  }

  /// The order in which they are measured, for each round; each round begins with another.
  func turns<Each>(of contenders: [Each]) -> [[Each]] {
    (0..<rounds).map { round in
      contenders.indices.map { contenders[($0 + round) % contenders.count] }
    }
  }
}
