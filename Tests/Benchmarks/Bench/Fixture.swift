import Foundation

/// Images that every peer gets a copy of, so that all have the same history.
struct Fixture: Sendable {
  let name: String
  /// Makes `top.qcow2` and `disk.raw` in a directory, and the layers below.
  let make: @Sendable (Disk) throws -> Void
  /// Whether only `top.qcow2` differs from peer to peer.
  var isRawShared = false

  /// 1 GiB of random data in an overlay that holds all of it, and in a raw file.
  static let populated = Fixture(name: "populated") { disk in
    try Program.shell(
      """
      cd "$1"
      head -c 1G /dev/urandom >disk.raw
      truncate -s 1G base.raw
      qemu-img convert -O qcow2 disk.raw top.qcow2
      qemu-img rebase -q -u -b base.raw -F raw top.qcow2
      """, disk.directory.path)
  }

  /// An empty overlay over 1 GiB of random data.
  static let empty = overlay("empty", of: "head -c 1G /dev/urandom >disk.raw")

  /// An empty overlay over the `disk.raw` that a line of shell makes.
  static func overlay(_ name: String, of raw: String) -> Fixture {
    Fixture(
      name: name,
      make: { disk in
        let overlay = "qemu-img create -q -f qcow2 -b disk.raw -F raw top.qcow2"
        try Program.shell("cd \"$1\"; \(raw); \(overlay)", disk.directory.path)
      }, isRawShared: true)
  }
}

/// The files of one peer.
struct Disk {
  let directory: URL
  /// The active layer, a qcow2 image.
  var top = "top.qcow2"
  /// The same disk as a raw file.
  var raw = "disk.raw"

  func path(_ name: String) -> String { directory.appending(path: name).path }
}
