import BackingChain
import Foundation
import HostStorage
import ImageFormat
import StreamJob
import TestSupport

/// A chain of which one file loses its last 64 KiB, and with them the end of the disk.
struct CutChain {
  enum Kind: String, CaseIterable {
    case small, plain, large, extended, compressed, raw, dataFile

    /// What qemu-img is told of an image of this kind; nil for raw.
    var options: String? {
      switch self {
      case .small: "cluster_size=512"
      case .plain, .compressed: "cluster_size=64K"
      case .large: "cluster_size=2M"
      case .extended: "cluster_size=64K,extended_l2=on"
      case .dataFile: "cluster_size=64K,data_file=cut.data"
      case .raw: nil
      }
    }

    var size: Int { self == .large ? 4 << 20 : 1 << 20 }
    /// The file that is cut.
    var file: String { self == .dataFile ? "cut.data" : "cut.img" }
    var format: String { self == .raw ? "raw" : "qcow2" }
  }

  /// Where in the chain the image is that is cut.
  enum Place: String, CaseIterable {
    case top, active, middle, middleAboveKeptBase, droppedBase, keptBase

    var hasJob: Bool { self != .top && self != .active }
    /// Whether the job needs what was lost.
    var isCopied: Bool { hasJob && self != .keptBase }
    /// The layer that the job keeps.
    var base: String {
      switch self {
      case .middleAboveKeptBase: "base.raw"
      case .keptBase: "cut.img"
      default: ""
      }
    }
  }

  let kind: Kind
  let place: Place
  let directory: TemporaryDirectory
  /// All files as they were.
  private var whole: [String: Data] = [:]

  /// No byte of it is zero, and it can be compressed by a quarter.
  static func bytes(count: Int) -> [UInt8] { Array(content.prefix(count)) }

  private static let content: [UInt8] = {
    var random = SeededRandom(seed: 1)
    return random.bytes(count: 4 << 20).map { $0 & 0x7F | 1 }
  }()

  init?(_ kind: Kind, at place: Place) throws {
    // A raw image has nothing below it, and a raw top is no disk that a job could complete.
    if kind == .raw && (place == .middle || place == .middleAboveKeptBase) { return nil }
    self.kind = kind
    self.place = place
    directory = try TemporaryDirectory()
    let bytes = Self.bytes(count: kind.size)
    _ = try directory.file("content", bytes)
    if place == .middle || place == .middleAboveKeptBase {
      _ = try directory.file("base.raw", [UInt8](repeating: 2, count: kind.size))
    }
    try makeCutImage()
    switch place {
    case .top, .active: break
    case .middle, .middleAboveKeptBase: try overlay("top.img", over: "cut.img", kind.format)
    case .droppedBase, .keptBase:
      try overlay("mid.img", over: "cut.img", kind.format)
      try qemu("qemu-io", "-f", "qcow2", "-c", "write -P 5 128K 64K", "mid.img")
      try overlay("top.img", over: "mid.img", "qcow2")
    }
    for name in ["cut.img", "cut.data", "mid.img", "top.img"] {
      whole[name] = try? Data(contentsOf: directory.url.appending(path: name))
    }
  }

  private func makeCutImage() throws {
    guard let options = kind.options else {
      _ = try directory.file("cut.img", Self.bytes(count: kind.size))
      return
    }
    try qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "cut.img", "\(kind.size)")
    if kind == .compressed {
      try qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "content", "cut.img")
    } else {
      try qemu("qemu-io", "-f", "qcow2", "-c", "write -s content 0 \(kind.size)", "cut.img")
    }
    if place == .middle || place == .middleAboveKeptBase {
      try qemu("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "cut.img")
    }
  }

  private func overlay(_ name: String, over backing: String, _ format: String) throws {
    try qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", format, name)
  }

  private func qemu(_ program: String, _ arguments: String...) throws {
    let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
    guard outcome.succeeded else { throw RealChain.Failure(text: outcome.output) }
  }

  // MARK: What happens to it

  /// Makes every file what it was.
  func restore() throws {
    for (name, bytes) in whole { try bytes.write(to: directory.url.appending(path: name)) }
  }

  func cut() throws {
    let file = try FileHandle(forWritingTo: directory.url.appending(path: kind.file))
    try file.truncate(atOffset: file.seekToEnd() - 65536)
    try file.close()
  }

  func open() throws -> BackingChain {
    var options = ChainOptions()
    options.isReadOnly = place == .top
    options.allowsDataFile = true
    options.format = place == .top || place == .active ? kind.format : "qcow2"
    let path = directory.path(place.hasJob ? "top.img" : "cut.img")
    let opened = try ChainOpener.open(path: path, options: options)
    return BackingChain(layers: opened.layers, active: opened.active)
  }
}
