import Foundation
import ImageFormat
import TestSupport

/// Images as files, for QEMU's programs, which run beside them.
struct CrashFolder {
  let directory: TemporaryDirectory

  init(_ below: [CrashImages.Below]) throws {
    directory = try TemporaryDirectory()
    for image in below { _ = try directory.file(image.name, image.content.bytes) }
  }

  struct Failure: Error { let output: String }

  @discardableResult
  func run(_ program: String, _ arguments: String...) throws -> String { try run(program, arguments) }

  @discardableResult
  func run(_ program: String, _ arguments: [String], mayFail: Bool = false) throws -> String {
    let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
    guard outcome.succeeded || mayFail else {
      throw Failure(output: "\(program) \(arguments.joined(separator: " ")): \(outcome.output)")
    }
    return outcome.output
  }

  /// Writes the active image, and its data file where it has one.
  func write(_ contents: [SparseBytes]) throws {
    for (name, content) in zip(["top.qcow2", "top.data"], contents) { _ = try directory.file(name, content.bytes) }
  }

  func contents(of names: [String]) throws -> [SparseBytes] {
    try names.map { SparseBytes([UInt8](try Data(contentsOf: directory.url.appending(path: $0)))) }
  }
}

extension CrashFolder {
  /// With a copy of a layer by each name that a header may give it.
  init(_ below: [CrashImages.Below], names: HeaderNames) throws {
    try self.init(below)
    for name in names.all {
      if let backing = name.backing {
        _ = try directory.file(String(decoding: backing.name, as: UTF8.self), below[name.kept].content.bytes)
      }
    }
  }

  /// What QEMU has against an image that reads as `disk`; nil: nothing.
  func objection(to contents: [SparseBytes], reading disk: [UInt8]) throws -> String? {
    try write(contents)
    _ = try directory.file("disk.raw", disk)
    // Deferred refcounts are wrong until they are repaired.
    let isDirty = contents[0].bytes(in: 72..<80).last.map { $0 & 1 == 1 } ?? false
    let check = try ExternalProgram("qemu-img").run(
      ["check", "-f", "qcow2"] + (isDirty ? ["-r", "all"] : []) + ["top.qcow2"], in: directory.url)
    guard [0, 3].contains(check.status) else { return "qemu-img check: \(check.status) \(check.output)" }
    let compare = try ExternalProgram("qemu-img").run(
      ["compare", "-f", "qcow2", "-F", "raw", "top.qcow2", "disk.raw"], in: directory.url)
    return compare.succeeded ? nil : "qemu-img compare: \(compare.output)"
  }
}
