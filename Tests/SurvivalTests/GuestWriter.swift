import CLinux
import Foundation
import Glibc
import Synchronization
import TestSupport

/// As in linux/fcntl.h on x86 and most others; Glibc's module leaves it out.
private let oDirect: Int32 = 0o40000

/// A guest's thread that writes to the disk and syncs, in one of the ways that there are, until it is stopped or the disk is
/// gone. It has every n-th block of the disk for itself, so that its neighbours write to the same clusters.
struct GuestWriter: Sendable {
  enum Way: Int, CaseIterable, Sendable { case cached, synchronous, mapped, direct }

  static let count = Way.allCases.count
  /// In sectors: four pages.
  private static let block = 32

  /// Set when it may stop.
  final class Stop: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  let images: MountedImages
  let ledger: SectorLedger
  let way: Way
  let stop: Stop
  private let seed: UInt64

  init(images: MountedImages, ledger: SectorLedger, way: Way, stop: Stop, seed: UInt64) {
    (self.images, self.ledger, self.way, self.stop, self.seed) = (images, ledger, way, stop, seed)
  }

  /// Starts one of each kind. The result of each is what went wrong before the stop.
  static func startAll(on disk: LayeredDisk, stop: Stop, random: inout SeededRandom) -> [Waiter<String?>] {
    Way.allCases.map { way in
      let writer = GuestWriter(
        images: disk.images, ledger: disk.ledger, way: way, stop: stop, seed: random.next())
      return Waiter { writer.run() }
    }
  }

  private func run() -> String? {
    do {
      let file = try HostFile(images.disk, flags)
      let mapping =
        way == .mapped
        ? try MappedFile(file, size: ledger.sectors * SectorLedger.sectorSize, through: images.path("mapped")) : nil
      var random = SeededRandom(seed: seed)
      while !stop.isSet.load(ordering: .relaxed) { try step(file, mapping, &random) }
      return nil
    } catch {
      return stop.isSet.load(ordering: .relaxed) ? nil : "\(way): \(error)"
    }
  }

  private var flags: Int32 {
    switch way {
    case .cached, .mapped: O_RDWR
    case .synchronous: O_RDWR | O_DSYNC
    case .direct: O_RDWR | oDirect
    }
  }

  private func step(_ file: HostFile, _ mapping: MappedFile?, _ random: inout SeededRandom) throws {
    let block =
      Int.random(in: 0..<(ledger.sectors / Self.block / Self.count), using: &random) * Self.count + way.rawValue
    let part = random.range(below: Self.block, longest: Self.block)
    let start = block * Self.block
    let range = (start + part.lowerBound)..<(start + part.upperBound)
    let offset = range.lowerBound * SectorLedger.sectorSize
    let zeroes = way != .mapped && way != .synchronous && random.oneIn(6)
    let bytes = ledger.willWrite(range, by: way.rawValue, zeros: zeroes)
    if zeroes {
      let mode = random.oneIn(2) ? FLATCOW_FALLOC_PUNCH_HOLE : FLATCOW_FALLOC_ZERO_RANGE
      try HostError.check(fallocate(file.descriptor, mode | FLATCOW_FALLOC_KEEP_SIZE, offset, bytes.count))
    } else if let mapping {
      try mapping.write(bytes, at: offset)
    } else {
      guard try file.write(bytes, at: offset) == bytes.count else { throw Surprise("a short write") }
    }
    if random.oneIn(4), try file.read(bytes.count, at: offset) != bytes { throw Surprise("\(range) reads otherwise") }
    switch way {
    case .cached:
      if !random.oneIn(4) { return }
      try HostError.check(fdatasync(file.descriptor))
    case .synchronous: break
    case .mapped: try mapping?.sync(start * SectorLedger.sectorSize, count: Self.block * SectorLedger.sectorSize)
    case .direct:
      if !random.oneIn(4) { return }
      try HostError.check(fsync(file.descriptor))
    }
    ledger.didSync(way.rawValue)
  }

  struct Surprise: Error {
    let text: String
    init(_ text: String) { self.text = text }
  }
}

/// A file in memory. It is written by read(2) into the mapping: where the disk is gone, that is EFAULT and no SIGBUS.
@safe final class MappedFile {
  private let start: UnsafeMutableRawPointer
  private let size: Int
  private let source: HostFile

  init(_ file: HostFile, size: Int, through source: String) throws {
    self.size = size
    unsafe start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0)
    if unsafe start == MAP_FAILED { throw HostError() }
    self.source = try HostFile(source, O_RDWR | O_CREAT)
  }

  deinit { unsafe munmap(start, size) }

  func write(_ bytes: [UInt8], at offset: Int) throws {
    try source.write(bytes, at: 0)
    try HostError.check(Int32(truncatingIfNeeded: unsafe pread(source.descriptor, start + offset, bytes.count, 0)))
  }

  func sync(_ offset: Int, count: Int) throws {
    try HostError.check(unsafe msync(start + offset, count, MS_SYNC))
  }
}
