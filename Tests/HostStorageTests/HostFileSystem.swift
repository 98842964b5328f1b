import Foundation
import HostStorage
import TestSupport

/// A file system of some kind in a file, mounted for as long as the value lives.
final class HostFileSystem {
  private let directory: TemporaryDirectory
  let url: URL

  /// `make` is the command that makes it, which is given the file.
  init(_ type: String, make: String = "true", size: Int = 4096) throws {
    directory = try TemporaryDirectory()
    let image = try directory.file("image")
    url = directory.url.appending(path: "mount")
    let steps =
      "truncate -s \(size) image && mkdir mount && \(make) image && mount -t \(type) \(type == "ramfs" ? "" : "-o loop") image mount"
    let outcome = try ExternalProgram("sh").run("-c", steps, in: directory.url)
    guard outcome.succeeded else { throw Missing(description: "no \(type) in \(image): \(outcome.output)") }
  }

  /// Lazily: a device over a file in it may end later.
  deinit { _ = try? ExternalProgram("umount").run("--lazy", url.path) }

  struct Missing: Error, CustomStringConvertible { let description: String }

  /// A new file on it.
  func storage(_ name: String = "file") throws -> FileStorage {
    try FileStorage.create(url.appending(path: name).path)
  }

  /// Mounts may not be made in every place where the tests run.
  static let isAvailable = (try? HostFileSystem.ext2()) != nil

  /// Knows no fallocate of any kind.
  static func ramfs() throws -> HostFileSystem { try .init("ramfs") }
  /// Knows how to punch, but neither to reserve nor ZERO_RANGE.
  static func ext2() throws -> HostFileSystem { try .init("ext2", make: "mkfs.ext2 -q", size: 16 << 20) }
  /// Shares extents between files.
  static func xfs() throws -> HostFileSystem { try .init("xfs", make: "mkfs.xfs -q -m reflink=1", size: 320 << 20) }
}

/// A loop device over a file, detached at the end.
final class LoopDevice {
  let path: String

  init(over file: String) throws {
    let outcome = try ExternalProgram("losetup").run("--show", "-f", file)
    guard outcome.succeeded else { throw HostFileSystem.Missing(description: outcome.output) }
    path = outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  deinit { _ = try? ExternalProgram("losetup").run("-d", path) }
}
