import Foundation
import HostStorage
import TestSupport
import Testing

@testable import flatcow

/// A chain of three images, `base.raw` under `mid.qcow2` under `top.qcow2`, that the built command mounts. What is
/// mounted is taken away with the last reference.
final class MountedChain: Sendable {
  static let isPossible = FileManager.default.isWritableFile(atPath: "/dev/fuse")

  let directory: TemporaryDirectory
  let mountpoint: String
  /// What the disk holds.
  let expected: [UInt8]

  init() throws {
    directory = try TemporaryDirectory()
    mountpoint = directory.path("mnt")
    try FileManager.default.createDirectory(atPath: mountpoint, withIntermediateDirectories: false)
    let bytes = [UInt8](repeating: 0xBA, count: 4 << 20)
    let middle = (1 << 20)..<(3 << 20)
    expected = bytes.enumerated().map { middle.contains($0.offset) ? 0x6D : $0.element }
    _ = try directory.file("base.raw", bytes)
    try #require(run("create", "mid.qcow2", "-b", "base.raw", "-F", "raw").succeeded)
    try #require(run("create", "top.qcow2", "-b", "mid.qcow2", "-F", "qcow2").succeeded)
    let filled = try ExternalProgram("qemu-io").run("-c", "write -P 0x6d 1M 2M", directory.path("mid.qcow2"))
    try #require(filled.succeeded, "\(filled.output)")
  }

  deinit {
    _ = try? run("umount", "--lazy", mountpoint)
  }

  /// Runs the command in the directory of the images; a minute is for ever.
  @discardableResult
  func run(_ arguments: String...) throws -> ExternalProgram.Outcome {
    try ExternalProgram("timeout").run(["60", CommandLineTests.flatcow.name] + arguments, in: directory.url)
  }

  /// As `run`, for a verb with the mount point; `signal` interrupts it after a second.
  func interrupt(_ verb: String, by signal: String) throws -> ExternalProgram.Outcome {
    try ExternalProgram("timeout").run(
      "--preserve-status", "-s", signal, "1", CommandLineTests.flatcow.name, verb, mountpoint)
  }

  func mount(_ options: String) throws {
    let mounted = try run("mount", "-o", options, "--pid-file", "pid", "top.qcow2", mountpoint)
    try #require(mounted.succeeded, "\(mounted.output)")
  }

  func text(_ file: String) throws -> String { try TextFile.read("\(mountpoint)/\(file)") }

  var daemon: Int32 {
    get throws {
      let text = try TextFile.read(directory.path("pid"))
      return try #require(Int32(text.split(separator: "\n").first ?? ""))
    }
  }

  /// What the host's table of mounts says of it; nil: it has left the name space.
  var entry: MountEntry? {
    get throws { try MountTable.flatcowMounts().last { $0.mountpoint == mountpoint } }
  }

  func waitUntilGone() throws {
    let isGone = eventually { (try? entry) == nil ? true : nil }
    try #require(isGone == true, "still in the name space")
  }

  func waitForEnd(of process: Int32) {
    #expect(hasEnded(process))
  }
}
