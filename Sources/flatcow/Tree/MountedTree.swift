import Glibc
import HostStorage

/// A mounted flatcow, seen through its files: all that the verbs need of it.
struct MountedTree: Sendable {
  /// The files that the verbs use, by their place below the mount point.
  enum File: String {
    case control
    case chain
    case status = "status.json"
    case metrics
    case state = "stream/state"
    case progress = "stream/progress"
    case remaining = "stream/remaining"
    case speed = "stream/speed"
    case base = "stream/base"
    case error = "stream/error"
  }

  private let entry: MountEntry
  var mountpoint: String { entry.mountpoint }
  var image: String { entry.source }
  /// The user who has mounted it.
  var owner: UInt32 { entry.owner }
  /// What the last word of the process behind it is about.
  var subject: String { entry.subject }
  /// Whether it is (still, or again) in the table of mounts.
  var isMounted: Bool { get throws(CommandError) { try MountTable.flatcowMounts().contains(entry) } }

  init(_ entry: MountEntry) { self.entry = entry }

  /// Finds the mount at `path`. Nothing is ever read or written where no flatcow is mounted: an ordinary directory
  /// would take a file called `control` without a complaint.
  init(at path: String) throws(CommandError) {
    let mounts = try MountTable.flatcowMounts()
    // By name first: looking at a dead mount only gives an error, and at one that hangs none.
    let named = mounts.last { $0.mountpoint == absolute(path) }
    guard let entry = named ?? resolved(path).flatMap({ place in mounts.last { $0.mountpoint == place } }) else {
      throw CommandError(
        .environment, "\(path): no flatcow is mounted here; `flatcow list` shows the mounts of this host")
    }
    self.init(entry)
  }

  func path(of file: File) -> String { "\(mountpoint)/\(file.rawValue)" }

  /// The text of a file without its closing newline.
  func read(_ file: File) throws(CommandError) -> String {
    do {
      let text = try TextFile.read(path(of: file))
      return text.hasSuffix("\n") ? String(text.dropLast()) : text
    } catch {
      throw failure(error)
    }
  }

  /// Writes a value and a newline. What the mount refuses is a failure of the job, in its own words where it has some.
  func write(_ value: String, to file: File) throws(CommandError) {
    do {
      try TextFile.write(value + "\n", to: path(of: file))
    } catch {
      throw failure(error, .failed)
    }
  }

  /// What a person is told of an error from the tree; `outcome` is for those that are the mount's own answer.
  func failure(_ error: StorageError, _ outcome: Outcome = .environment) -> CommandError {
    switch error.errno {
    case ENOTCONN, ECONNABORTED:
      CommandError(
        .environment,
        "\(mountpoint): the flatcow behind it has died; `flatcow umount --lazy \(mountpoint)`, then mount again")
    case EACCES, EPERM:
      CommandError(.environment, "\(error); only root and the mount's owner may do this")
    default:
      CommandError(outcome, [error.description, sentence(after: error)].compactMap(\.self).joined(separator: "; "))
    }
  }

  /// What the mount itself says about an error.
  private func sentence(after error: StorageError) -> String? {
    guard error.operation == "write", let text = try? TextFile.read(path(of: .error)) else { return nil }
    return text.split(separator: "\n").first.map(String.init)
  }
}

/// `path` from the root, without looking at anything: dots and doubled slashes go, links stay.
func absolute(_ path: String) -> String {
  let full = path.hasPrefix("/") ? path : "\(HostMounts.workingDirectory)/\(path)"
  let parts = full.split(separator: "/").reduce(into: [Substring]()) { parts, part in
    if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(part) }
  }
  return "/" + parts.joined(separator: "/")
}

/// The absolute name of an existing file, without links.
func resolved(_ path: String) -> String? {
  (try? LocatedFile(Array(path.utf8)).resolvedPath).map { String(decoding: $0, as: UTF8.self) }
}
