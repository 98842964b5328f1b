import Foundation

/// The images in one directory.
final class ImageStore {
  private let directory: URL
  private var prepared: Fixture?
  private var copied: [Peer: Disk] = [:]
  /// KiB that the host had written at the last rest.
  private var written = 0.0

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
    try Program.run(["rm", "-rf"] + copied.values.map(\.directory.path))
    copied = [:]
    let all = try FileManager.default.contentsOfDirectory(atPath: source.directory.path)
    let names = all.filter { !$0.hasPrefix("for-") && !$0.hasPrefix("mnt-") }
    for peer in peers {
      let copy = Disk(directory: source.directory.appending(path: "for-\(peer)"))
      try FileManager.default.createDirectory(at: copy.directory, withIntermediateDirectories: false)
      copied[peer] = copy
      for name in names where name != (peer.servesRaw ? copy.top : copy.raw) || fixture.isRawShared {
        if name == copy.raw, fixture.isRawShared, peer.isLimit {
          // A limit has no layers: it begins with an empty file.
          try Program.shell(#"truncate -r "$1" "$2""#, source.path(name), copy.path(name))
        } else if name == copy.top || name == copy.raw && !fixture.isRawShared {
          try Program.run("cp", "--reflink=never", source.path(name), copy.path(name))
        } else {
          try FileManager.default.linkItem(atPath: source.path(name), toPath: copy.path(name))
        }
      }
    }
    try settle()
    for disk in copied.values {
      try Program.shell(#"find "$1" -type f -size -8G -exec cat {} + >/dev/null"#, disk.directory.path)
    }
    return copied
  }

  /// A fresh copy for one.
  func copy(_ fixture: Fixture, for peer: Peer) throws -> Disk {
    guard let disk = try copies(fixture, for: [peer])[peer] else { throw BenchError("no copy of \(fixture.name)") }
    return disk
  }

  /// Removes all images.
  func clear() throws {
    if let prepared { try Program.run("rm", "-rf", directory.appending(path: prepared.name).path) }
    (prepared, copied) = (nil, [:])
  }

  /// Leaves nothing for the host to write, and lets its disk rest for what was written: many a virtual disk is quick for
  /// a GiB, and then slow until it has rested.
  func settle() throws {
    try Program.run("sync")
    let counters = try String(contentsOfFile: "/proc/vmstat", encoding: .utf8)
    let kibibytes = counters.firstMatch(of: /pgpgout (\d+)/).flatMap { Double($0.1) } ?? 0
    Thread.sleep(forTimeInterval: min(4, 0.2 + (kibibytes - written) / 262_144))
    written = kibibytes
  }
}
