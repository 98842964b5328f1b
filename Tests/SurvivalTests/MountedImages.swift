import Foundation
import Glibc
import HostStorage
import TestSupport
import Testing

/// Images in a directory of their own, and the built command that mounts them. What is mounted is taken away with the
/// last reference.
final class MountedImages: Sendable {
  static let isPossible = FileManager.default.isWritableFile(atPath: "/dev/fuse")
  private static let flatcow = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    .appending(path: "flatcow").path

  private let directory: TemporaryDirectory
  var mountpoint: String { path("mnt") }
  var disk: String { path("mnt/disk") }

  init() throws {
    directory = try TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: mountpoint, withIntermediateDirectories: false)
  }

  deinit { _ = try? ExternalProgram("umount").run("-l", mountpoint) }

  func path(_ name: String) -> String { directory.path(name) }
  func text(_ file: String) throws -> String { try TextFile.read("\(mountpoint)/\(file)") }

  /// Runs lines of shell in the directory; `flatcow` and `$MNT` mean what they say. Two minutes are for ever.
  func run(_ lines: String) throws -> ExternalProgram.Outcome {
    let setting = ["MNT=\(mountpoint)", "FLATCOW=\(Self.flatcow)"]
    let path = "PATH=\(ProcessInfo.processInfo.environment["PATH"] ?? ""):/usr/sbin:/sbin"
    let script = "flatcow() { \"$FLATCOW\" \"$@\"; }\n\(lines)"
    return try ExternalProgram("env").run(setting + [path, "timeout", "120", "bash", "-ec", script], in: directory.url)
  }

  /// As `run`, for what has to succeed.
  @discardableResult
  func shell(_ lines: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    let outcome = try run(lines)
    try #require(outcome.succeeded, "\(lines): \(outcome.status) \(outcome.output)", sourceLocation: sourceLocation)
    return outcome.output
  }

  func mount(_ options: String, image: String = "top.qcow2") throws {
    try shell("flatcow mount \(image) mnt --pid-file pid -o '\(options)'")
  }

  /// Waits until `stream/state` is one of these.
  func awaitState(_ states: String...) throws {
    let state = eventually { try? states.contains(text("stream/state").trimmingCharacters(in: .newlines)) ? true : nil }
    let status = try text("status.json")
    try #require(state != nil, "\(states): \(status)")
  }

  /// Writes a line to `control`, and waits for the answer; nil: it succeeded.
  func complete(_ line: String) -> HostError? {
    do throws(HostError) {
      try HostFile("\(mountpoint)/control", O_WRONLY).write(Array("\(line)\n".utf8), at: 0)
      return nil
    } catch {
      return error
    }
  }

  /// Kills the process behind the mount, and takes away what it leaves behind. `before` is called at the last moment.
  func kill(before: () -> Void = {}) throws {
    let text = try TextFile.read(path("pid"))
    let pid = try #require(Int32(text.trimmingCharacters(in: .newlines)))
    before()
    Glibc.kill(pid, SIGKILL)
    #expect(hasEnded(pid))
    try shell("umount -l mnt")
  }

  /// What `qemu-img check` finds at worst after a crash: leaked clusters.
  func expectNoErrors(in image: String = "top.qcow2", sourceLocation: SourceLocation = #_sourceLocation) throws {
    let alone = #"json:{"driver":"qcow2","backing":null,"file":{"driver":"file","filename":"\#(path(image))"}}"#
    let checked = try ExternalProgram("qemu-img").run("check", alone)
    #expect([0, 3].contains(checked.status), "\(checked.output)", sourceLocation: sourceLocation)
  }
}
