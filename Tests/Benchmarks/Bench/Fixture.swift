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

/// The images in one directory.
final class ImageStore {
  private let directory: URL
  private var prepared: Fixture?
  private var copied: [Peer: Disk] = [:]

  init(_ directory: URL) { self.directory = directory }

  /// The images that copies are made of. They are made once; those of the fixture before are removed.
  func original(_ fixture: Fixture) throws -> Disk {
    let disk = Disk(directory: directory.appending(path: fixture.name))
    if prepared?.name != fixture.name {
      try clear()
      try FileManager.default.createDirectory(at: disk.directory, withIntermediateDirectories: false)
      prepared = fixture
      try fixture.make(disk)
      try settle()
    }
    return disk
  }

  /// A copy for each of `peers`, durable, and in the host's page cache. The copies before are removed, unless they are
  /// of the same and need not be fresh.
  func copies(_ fixture: Fixture, for peers: [Peer], fresh: Bool = true) throws -> [Peer: Disk] {
    let source = try original(fixture)
    if !fresh, Set(copied.keys) == Set(peers) { return copied }
    let names = try FileManager.default.contentsOfDirectory(atPath: source.directory.path).filter {
      !$0.hasPrefix("for-")
    }
    var disks: [Peer: Disk] = [:]
    for peer in peers {
      let copy = Disk(directory: source.directory.appending(path: "for-\(peer)"))
      try Program.run("rm", "-rf", copy.directory.path)
      try FileManager.default.createDirectory(at: copy.directory, withIntermediateDirectories: false)
      for name in names where name != (peer.servesRaw ? copy.top : copy.raw) || fixture.isRawShared {
        if name == copy.top || name == copy.raw && !fixture.isRawShared {
          try Program.run("cp", "--reflink=never", source.path(name), copy.path(name))
        } else {
          try FileManager.default.linkItem(atPath: source.path(name), toPath: copy.path(name))
        }
      }
      disks[peer] = copy
    }
    try settle()
    for disk in disks.values {
      try Program.shell(#"find "$1" -type f -size -8G -exec cat {} + >/dev/null"#, disk.directory.path)
    }
    copied = disks
    return disks
  }

  /// Removes all images.
  func clear() throws {
    if let prepared { try Program.run("rm", "-rf", directory.appending(path: prepared.name).path) }
    (prepared, copied) = (nil, [:])
  }

  /// Nothing is left for the host to write.
  private func settle() throws {
    try Program.run("sync")
    Thread.sleep(forTimeInterval: 0.5)
  }
}
