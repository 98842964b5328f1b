import Foundation
import TestSupport

/// Images for a mount, made by qemu-img and qemu-io; gone with the last reference.
final class Images: Sendable {
  private let directory: TemporaryDirectory
  /// The size of every image.
  let size: Int

  init(size: Int = 8 << 20) throws {
    directory = try TemporaryDirectory()
    self.size = size
  }

  func path(_ name: String) -> String { directory.path(name) }

  /// An empty qcow2 image, over a backing image or none; the backing name is recorded as it stands.
  @discardableResult
  func qcow2(_ name: String, over backing: String? = nil, options: [String] = []) throws -> String {
    let below = backing.map { ["-b", $0, "-F", $0.hasSuffix(".raw") ? "raw" : "qcow2"] } ?? []
    try qemu("qemu-img", ["create", "-q", "-f", "qcow2"] + options + below + [path(name), "\(size)"])
    return path(name)
  }

  /// A raw image that begins with `bytes`; the rest is a hole.
  @discardableResult
  func raw(_ name: String, _ bytes: [UInt8] = []) throws -> String {
    let path = try directory.file(name, bytes)
    try HostError.check(unsafe truncate(path, size))
    return path
  }

  /// Fills a range of an image through qemu-io.
  func fill(_ name: String, _ range: Range<Int>, with byte: UInt8) throws {
    let format = name.hasSuffix(".raw") ? "raw" : "qcow2"
    try qemu(
      "qemu-io", ["-f", format, "-c", "write -q -P \(byte) \(range.lowerBound) \(range.count)", path(name)])
  }

  /// What the guest sees in an image, by qemu-img.
  func contents(_ name: String) throws -> [UInt8] {
    let flat = path("\(name).flat")
    try qemu("qemu-img", ["convert", "-U", "-O", "raw", path(name), flat])
    return try [UInt8](Data(contentsOf: URL(filePath: flat)))
  }

  /// What qemu-img check says of an image: nothing but good.
  func isClean(_ name: String) throws -> Bool {
    try ExternalProgram("qemu-img").run("check", path(name)).status == 0
  }

  private func qemu(_ program: String, _ arguments: [String]) throws {
    let outcome = try ExternalProgram(program).run(arguments, in: URL(filePath: directory.path))
    guard outcome.succeeded else { throw Failure(text: "\(program) \(arguments): \(outcome.output)") }
  }

  struct Failure: Error { let text: String }
}
