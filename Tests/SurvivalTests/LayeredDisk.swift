import Foundation
import Glibc
import TestSupport
import Testing

/// `top.qcow2` over `mid.qcow2` over `base.raw`, and the ledger of what they read as.
struct LayeredDisk {
  let images: MountedImages
  let ledger: SectorLedger
  private let size: Int
  private let lowerSums: String

  /// The lower images have data in about half of the disk; the top one is empty.
  init(size: Int = 16 << 20, geometry: String? = nil, random: inout SeededRandom) throws {
    self.size = size
    images = try MountedImages()
    ledger = SectorLedger(size: size, writers: GuestWriter.count)
    try images.shell("truncate -s \(size) base.raw; flatcow create mid.qcow2 -b base.raw -F raw")
    let base = try HostFile(images.path("base.raw"))
    for start in stride(from: 0, to: ledger.sectors, by: 512) where !random.oneIn(3) {
      try base.write(ledger.willWrite(start..<(start + 512), by: 0), at: start * SectorLedger.sectorSize)
    }
    var commands = ""
    for piece in 0..<12 {
      let range = random.range(below: ledger.sectors, longest: 2000)
      try Data(ledger.willWrite(range, by: 0)).write(to: URL(filePath: images.path("piece\(piece)")))
      commands += " -c 'write -q -s piece\(piece) \(range.lowerBound * 512) \(range.count * 512)'"
    }
    ledger.didSync(0)
    try images.shell("qemu-io\(commands) mid.qcow2; rm piece*")
    let geometries = ["cluster_size=4K", "", "cluster_size=512K", "extended_l2=on", "compat=v2,cluster_size=512"]
    let options = geometry ?? geometries.randomElement(using: &random) ?? ""
    try images.shell(
      "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 \(options.isEmpty ? "" : "-o " + options) top.qcow2")
    lowerSums = try images.shell("sha256sum mid.qcow2 base.raw")
  }

  /// QEMU reads from the image what the ledger allows, through the chain that the header names.
  func expectImageHoldsWhatWasSynced(sourceLocation: SourceLocation = #_sourceLocation) throws {
    try images.shell("qemu-img convert -O raw top.qcow2 flat.raw")
    let wrong = try ledger.settle(images.path("flat.raw"))
    #expect(wrong == [], sourceLocation: sourceLocation)
    #expect(try images.shell("sha256sum mid.qcow2 base.raw") == lowerSums, "a backing image was written")
  }

  /// The image, alone with what its header names, is the disk: these bytes, or those of the ledger when nothing is pending.
  func expectEqual(_ bytes: Data? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try (bytes ?? ledger.bytes).write(to: URL(filePath: images.path("model.raw")))
    try images.shell("qemu-img compare -f qcow2 -F raw top.qcow2 model.raw")
  }

  /// Where QEMU finds the disk's bytes.
  struct Extent: Decodable {
    let start: Int
    let length: Int
    /// 0 is the top.
    let depth: Int
    let data: Bool
    let offset: Int?
  }

  func map() throws -> [Extent] {
    try JSONDecoder().decode(
      [Extent].self, from: Data(images.shell("qemu-img map --output=json top.qcow2").utf8))
  }

  /// Writes sectors through the mount, past its cache. A write that may fail is by another writer than those that `sync` is
  /// for.
  func write(_ sectors: Range<Int>, by writer: Int = 0) throws {
    let file = try HostFile(images.disk, O_RDWR | GuestWriter.oDirect)
    try file.write(ledger.willWrite(sectors, by: writer), at: sectors.lowerBound * SectorLedger.sectorSize)
  }

  /// Reads one sector through the mount, past its cache.
  func read(_ sector: Int) throws {
    let file = try HostFile(images.disk, O_RDONLY | GuestWriter.oDirect)
    _ = try file.read(SectorLedger.sectorSize, at: sector * SectorLedger.sectorSize)
  }

  /// What fsync(2) says of what this writer wrote.
  func sync(_ writer: Int = 0) throws {
    let file = try HostFile(images.disk)
    try HostError.check(fsync(file.descriptor))
    ledger.didSync(writer)
  }

  /// The name in the top image's header, as QEMU reads it.
  func backingFile() throws -> String? {
    struct Info: Decodable {
      let backing: String?

      enum CodingKeys: String, CodingKey { case backing = "backing-filename" }
    }
    let info = try images.shell("qemu-img info --output=json top.qcow2")
    return try JSONDecoder().decode(Info.self, from: Data(info.utf8)).backing
  }
}
