import Foundation
import Glibc
import TestSupport
import Testing

/// A user without privileges who owns a chain of images and the directory on which it is mounted.
struct PlainUser: Sendable {
  /// As "nobody".
  static let start = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
  static let isPossible = MountedChain.isPossible && geteuid() == 0 && may
  private static let may: Bool = {
    let needs = "\"$0\" --help && command -v fusermount3 && test -w /dev/fuse"
    let tried = try? ExternalProgram("env").run(start + ["sh", "-c", needs, CommandLineTests.flatcow.name])
    return tried?.succeeded == true
  }()
  static let hasPython =
    isPossible && (try? ExternalProgram("env").run(start + ["/usr/bin/python3", "-c", ""]).succeeded) == true

  let chain: MountedChain

  init() throws {
    chain = try MountedChain()
    try #require(ExternalProgram("chown").run("-R", "65534:65534", chain.directory.path).succeeded)
  }

  /// Runs the command as that user, in the directory of the images; `before` stands before it.
  func run(_ arguments: String..., before: [String] = []) throws -> ExternalProgram.Outcome {
    try ExternalProgram("timeout").run(
      ["60"] + Self.start + before + [CommandLineTests.flatcow.name] + arguments, in: chain.directory.url)
  }

  /// Returns the number of the process behind the mount.
  func mount(_ options: String = "stream=off", before: [String] = []) throws -> Int32 {
    let mounted = try run("mount", "-o", options, "--pid-file", "pid", "top.qcow2", "mnt", before: before)
    try #require(mounted.succeeded, "\(mounted.output)")
    return try chain.daemon
  }

  /// Has the disk open until it is killed.
  func holdOpen() throws -> Process {
    try start("sh", "-c", "exec 3<\"$0\"; echo open; exec sleep 60", "\(chain.mountpoint)/disk", saying: "open")
  }

  /// Starts a program as that user, and waits for its first line.
  func start(_ program: String..., saying line: String) throws -> Process {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = Self.start + program
    process.standardOutput = output
    try process.run()
    try #require(output.fileHandleForReading.availableData.starts(with: Data(line.utf8)))
    return process
  }
}
