import Foundation
import HostStorage
import TestSupport
import Testing

/// QEMU's programs and flatcow's locks keep out of each other's way.
@Suite(.timeLimit(.minutes(1))) struct LockTests {
  let directory: TemporaryDirectory
  let image: String

  init() throws {
    directory = try TemporaryDirectory()
    image = directory.path("disk.qcow2")
    try ExternalProgram("qemu-img").run("create", "-q", "-f", "qcow2", image, "1M")
  }

  /// What a QEMU program is asked to do with the image.
  enum Use: CaseIterable {
    case write, read, forcedRead

    func run(on image: String) throws -> ExternalProgram.Outcome {
      let program = ExternalProgram("qemu-io")
      return switch self {
      case .write: try program.run("-c", "write 0 4k", image)
      case .read: try program.run("-r", "-c", "read 0 4k", image)
      case .forcedRead: try program.run("-r", "-U", "-c", "read 0 4k", image)
      }
    }
  }

  @Test(arguments: Use.allCases) func withoutALockQemuDoesAll(_ use: Use) throws {
    #expect(try use.run(on: image).succeeded)
  }

  @Test(arguments: [Use.forcedRead: true, .read: false, .write: false])
  func theActiveLayerIsQemusOnlyByForce(_ use: Use, goes: Bool) throws {
    let storage = try FileStorage.open(image, readOnly: false)
    try storage.lock(.active)
    let outcome = try use.run(on: image)
    #expect(outcome.succeeded == goes)
    if !goes { #expect(outcome.output.contains("Failed to get")) }
    storage.close()
    #expect(try use.run(on: image).succeeded)
  }

  @Test(arguments: [Use.forcedRead: true, .read: true, .write: false])
  func aBackingLayerMayBeReadByQemu(_ use: Use, goes: Bool) throws {
    let storage = try FileStorage.open(image, readOnly: true)
    try storage.lock(.backing)
    let outcome = try use.run(on: image)
    #expect(outcome.succeeded == goes)
    if !goes { #expect(outcome.output.contains("Failed to get \"write\" lock")) }
    storage.close()
    #expect(try use.run(on: image).succeeded)
  }

  @Test(arguments: [ImageLock.active, .backing]) func qemuThatWritesIsNamed(_ mode: ImageLock) throws {
    try withQemu { process in
      let storage = try FileStorage.open(image, readOnly: mode == .backing)
      let error = #expect(throws: StorageError.self) { try storage.lock(mode) }
      #expect(error?.code == .locked)
      #expect(error?.detail == "held by qemu-io, process \(process)")
    }
  }

  @Test func qemuThatReadsSharesABackingLayerOnly() throws {
    try withQemu("-r") { _ in
      try FileStorage.open(image, readOnly: true).lock(.backing)
      let storage = try FileStorage.open(image, readOnly: false)
      let error = #expect(throws: StorageError.self) { try storage.lock(.active) }
      #expect(error?.code == .locked)
    }
  }

  /// Runs `body` while a qemu-io that waits for commands has the image open.
  private func withQemu(_ arguments: String..., body: (pid_t) throws -> Void) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["qemu-io"] + arguments + [image]
    let (commands, output) = (Pipe(), Pipe())
    process.standardInput = commands
    process.standardOutput = output
    try process.run()
    // It inherited a signal mask in which SIGTERM is blocked.
    defer {
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
    }
    let prompt = output.fileHandleForReading.availableData
    #expect(String(decoding: prompt, as: UTF8.self).hasPrefix("qemu-io>"))
    try body(process.processIdentifier)
  }
}
