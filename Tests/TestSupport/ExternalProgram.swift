package import Foundation

/// A program of the host, found by PATH: `try ExternalProgram("qemu-img").run("check", path)`.
package struct ExternalProgram: Sendable {
  package let name: String

  package init(_ name: String) { self.name = name }

  package struct Outcome: Sendable {
    package let status: Int32
    /// What it wrote to stdout and stderr, as it came.
    package let output: String
    package var succeeded: Bool { status == 0 }
  }

  /// Runs it to its end.
  @discardableResult
  package func run(_ arguments: String..., in directory: URL? = nil) throws -> Outcome {
    try run(arguments, in: directory)
  }

  /// Runs it to its end.
  @discardableResult
  package func run(_ arguments: [String], in directory: URL? = nil) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [name] + arguments
    process.currentDirectoryURL = directory
    process.standardInput = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let bytes = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: String(decoding: bytes, as: UTF8.self))
  }
}
