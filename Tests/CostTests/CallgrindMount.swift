import Foundation
import TestSupport
import Testing

/// Images in a directory of their own, and the release build of the command, which valgrind counts the instructions of
/// while it serves them. What is mounted is taken away with the last reference.
final class CallgrindMount: Sendable {
  /// Why instructions cannot be counted here; nil: they can.
  static let obstacle: String? = {
    guard FileManager.default.isWritableFile(atPath: "/dev/fuse") else {
      return "/dev/fuse cannot be opened: `make deps` as root"
    }
    guard FileManager.default.isExecutableFile(atPath: flatcow) else { return "`make release` builds what is counted" }
    guard (try? ExternalProgram("valgrind").run("--version").succeeded) == true else { return "valgrind is not there" }
    #if arch(x86_64)
      return nil
    #else
      return "the figures are those of x86-64"
    #endif
  }()

  private static let flatcow = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "release/flatcow").path

  private let directory: TemporaryDirectory

  /// `images` are lines of shell that make top.qcow2.
  init(_ images: String) throws {
    directory = try TemporaryDirectory()
    try shell("mkdir mnt\n\(images)")
  }

  deinit { _ = try? ExternalProgram("umount").run("-l", directory.path("mnt")) }

  /// How many instructions the command executes in all, from its start to the end of the mount, when `work`, lines of
  /// shell, uses what is mounted.
  func instructions(options: String, _ work: String) throws -> Int {
    // Whoever lists the mounts of the host keeps this one busy for a moment.
    let output = try shell(
      """
      timeout -k 5 90 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$0" mount -f -o '\(options)' top.qcow2 mnt >counted 2>&1 &
      trap 'cat counted; kill $! 2>/dev/null || true' EXIT
      until mountpoint -q mnt; do kill -0 $!; sleep 0.05; done
      \(work)
      until "$0" umount mnt; do kill -0 $!; sleep 0.1; done
      wait $!
      """)
    let collected = try #require(output.firstMatch(of: /Collected : (\d+)/), "\(output)")
    return try #require(Int(collected.output.1))
  }

  /// Two minutes are for ever.
  @discardableResult
  private func shell(_ lines: String) throws -> String {
    let outcome = try ExternalProgram("timeout").run(
      "-k", "5", "120", "bash", "-ec", lines, Self.flatcow, in: directory.url)
    try #require(outcome.succeeded, "\(lines): \(outcome.status) \(outcome.output)")
    return outcome.output
  }
}
