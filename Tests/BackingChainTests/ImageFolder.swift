import BackingChain
import Foundation
import TestSupport

/// A directory with images made by qemu-img, and the opener pointed at it.
struct ImageFolder {
  let directory: TemporaryDirectory
  var path: String { directory.path }

  init() throws { directory = try TemporaryDirectory() }

  func path(_ name: String) -> String { directory.path(name) }

  /// A raw file of 64 KiB that holds `byte` everywhere.
  @discardableResult
  func raw(_ name: String, filledWith byte: UInt8 = 0x5A) throws -> String {
    try directory.file(name, [UInt8](repeating: byte, count: 65536))
  }

  /// A qcow2 image whose header holds these names, unseen by qemu-img; no format: none is recorded.
  @discardableResult
  func overlay(_ name: String, on backing: String, format: String? = "raw", options: String = "compat=1.1") throws
    -> String
  {
    try overlay(name, on: Array(backing.utf8), format: format, options: options)
  }

  @discardableResult
  func overlay(_ name: String, on backing: [UInt8], format: String? = "raw", options: String = "compat=1.1") throws
    -> String
  {
    let image = path(name)
    try create(image, options: options)
    var bytes = [UInt8](try Data(contentsOf: URL(filePath: image)))
    // A version 3 header ends at 104 or 112; its extensions follow, and the name comes after them.
    var position = 112
    bytes.replaceSubrange(112..<1024, with: [UInt8](repeating: 0, count: 912))
    if let format {
      let length = UInt8(format.utf8.count)
      bytes.replaceSubrange(position..<(position + 8), with: [0xE2, 0x79, 0x2A, 0xCA, 0, 0, 0, length])
      bytes.replaceSubrange((position + 8)..<(position + 8 + format.utf8.count), with: format.utf8)
      position += 8 + (format.utf8.count + 7) / 8 * 8
    }
    position += 8
    bytes.replaceSubrange(position..<(position + backing.count), with: backing)
    bytes.replaceSubrange(8..<16, with: [0, 0, 0, 0, 0, 0, UInt8(position >> 8), UInt8(position & 0xFF)])
    bytes.replaceSubrange(16..<20, with: [0, 0, UInt8(backing.count >> 8), UInt8(backing.count & 0xFF)])
    try Data(bytes).write(to: URL(filePath: image))
    return image
  }

  @discardableResult
  func create(_ image: String, options: String = "compat=1.1", size: String = "64K") throws -> String {
    let made = try ExternalProgram("qemu-img").run("create", "-q", "-f", "qcow2", "-o", options, image, size)
    guard made.succeeded else { throw Failure(text: made.output) }
    return image
  }

  func link(_ name: String, to target: String) throws -> String {
    try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
    return path(name)
  }

  func folder(_ name: String) throws -> String {
    try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
    return path(name)
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path(name)) }

  struct Failure: Error { let text: String }
}

extension ChainOptions {
  static var reading: ChainOptions {
    var options = ChainOptions()
    options.isReadOnly = true
    return options
  }

  func with(_ change: (inout ChainOptions) -> Void) -> ChainOptions {
    var options = self
    change(&options)
    return options
  }
}

/// Opens a chain to be read and says why it was refused; nil where it was not.
func refusal(_ path: String, _ options: ChainOptions = .reading) -> ChainError? {
  do throws(ChainError) {
    _ = try ChainOpener.open(path: path, options: options)
    return nil
  } catch {
    return error
  }
}
