import BackingChain
import Foundation
import HostStorage
import ImageFormat
import StreamJob
import TestSupport

/// base.raw ← mid.qcow2 ← top.qcow2, 2 MiB in clusters of 64 KiB, made by QEMU's programs in a directory of their own.
///
/// Each 64 KiB of the guest holds one byte all over: what `expected` says.
struct RealChain {
  static let size = 2_097_152
  static let cluster = 65536

  let directory: TemporaryDirectory
  var expected = [UInt8](repeating: 0, count: size)

  /// The base is full of ones, the middle has twos in every third cluster, the top has threes in every fifth.
  init(midSize: Int = size, options: String = "compat=1.1", base: String = "raw") throws {
    directory = try TemporaryDirectory()
    _ = try directory.file("content", [UInt8](repeating: 1, count: Self.size))
    try qemu("qemu-img", "convert", "-f", "raw", "-O", base, "content", "base.raw")
    try qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", base, "mid.qcow2", "\(midSize)")
    try qemu(
      "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2",
      "\(Self.size)")
    for index in 0..<midSize { expected[index] = 1 }
    try write(2, every: 3, to: "mid.qcow2", size: midSize)
    try write(3, every: 5, to: "top.qcow2", size: Self.size)
  }

  private mutating func write(_ byte: UInt8, every step: Int, to image: String, size: Int) throws {
    var arguments = ["-f", "qcow2"]
    for start in stride(from: 0, to: size, by: Self.cluster * step) {
      arguments += ["-c", "write -P \(byte) \(start) \(Self.cluster)"]
      expected.replaceSubrange(start..<start + Self.cluster, with: [UInt8](repeating: byte, count: Self.cluster))
    }
    try qemu("qemu-io", arguments + [image])
  }

  /// Sets a reserved bit in the L2 entry of the second cluster of a qcow2 image.
  func damageAnEntry(of image: String) throws {
    let file = try FileHandle(forUpdating: directory.url.appending(path: image))
    try file.seek(toOffset: 40)
    let l1 = try file.read(upToCount: 8) ?? Data()
    try file.seek(toOffset: l1.reduce(0) { $0 << 8 | UInt64($1) })
    let l2 = try file.read(upToCount: 8) ?? Data()
    let table = l2.reduce(0) { $0 << 8 | UInt64($1) } & 0x00FF_FFFF_FFFF_FE00
    try file.seek(toOffset: table + 14)
    try file.write(contentsOf: Data([1]))
    try file.close()
  }

  @discardableResult func qemu(_ program: String, _ arguments: String...) throws -> String {
    try qemu(program, arguments)
  }

  @discardableResult private func qemu(_ program: String, _ arguments: [String]) throws -> String {
    let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
    guard outcome.succeeded else { throw Failure(text: outcome.output) }
    return outcome.output
  }

  func open(_ change: (inout ChainOptions) -> Void = { _ in }) throws -> BackingChain {
    var options = ChainOptions()
    change(&options)
    let opened = try ChainOpener.open(path: directory.path("top.qcow2"), options: options)
    return BackingChain(layers: opened.layers, active: opened.active)
  }

  /// What the header says of the image below: a name and a format.
  func recorded() throws -> String {
    let pattern = /"(backing-filename|backing-filename-format)": "([^"]*)"/
    let info = try qemu("qemu-img", "info", "-U", "--output=json", "top.qcow2")
    return info.matches(of: pattern).map { "\($0.output.2)" }.sorted().joined(separator: " ")
  }

  /// What the guest reads, by QEMU, from the closed image.
  func contents() throws -> [UInt8] {
    try qemu("qemu-img", "check", "-q", "top.qcow2")
    try qemu("qemu-img", "convert", "-O", "raw", "top.qcow2", "flat.raw")
    return try [UInt8](Data(contentsOf: directory.url.appending(path: "flat.raw")))
  }

  struct Failure: Error { let text: String }
}

extension BackingChain {
  /// All of the disk.
  func contents() throws(ChainError) -> [UInt8] {
    try [UInt8](capacity: virtualSize.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try read(GuestRange(at: GuestOffset(0), count: virtualSize), into: &output)
    }
  }
}
