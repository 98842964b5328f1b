import Foundation

/// A file system in a file, for as long as it is needed.
struct LoopFileSystem: Sendable {
  let make: [String]

  static let xfs = LoopFileSystem(make: ["mkfs.xfs", "-q", "-m", "reflink=1"])
  static let btrfs = LoopFileSystem(make: ["mkfs.btrfs", "-q"])

  /// Why it cannot be had on this host.
  struct Impossible: Error { let reason: String }

  /// Calls `body` with a directory of it.
  func mounted<Result>(_ bench: Bench, _ body: (URL) throws -> Result) throws -> Result {
    let file = bench.directory.appending(path: "loop").path
    let place = bench.directory.appending(path: "loop-mnt")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    // By lazy unmounting, too, the loop device goes with the last user.
    let undo = bench.cleanup.add { _ = try? Program.run("umount", "-l", place.path) }
    do {
      try Program.run("fallocate", "-l", "6G", file)
      try Program.run(make + [file])
      try Program.run("mount", "-o", "loop", file, place.path)
    } catch {
      throw Impossible(reason: "\(error)")
    }
    defer {
      bench.cleanup.undo(undo)
      try? FileManager.default.removeItem(atPath: file)
    }
    return try body(place)
  }
}
