import CLinux
import Foundation
import Glibc
import TestSupport

/// A guest's thread that writes to the disk and syncs, in one of the ways that there are, until it is stopped or the disk is
/// gone. It has every n-th block of the disk for itself, so that its neighbours write to the same clusters.
struct GuestWriter: Sendable {
  enum Way: Int, CaseIterable, Sendable { case cached, synchronous, mapped, direct }

  /// As in linux/fcntl.h on x86 and most others; Glibc's module leaves it out.
  static let oDirect: Int32 = 0o40000
  static let count = Way.allCases.count
  /// In sectors: four pages.
  private static let block = 32

  let images: MountedImages
  let ledger: SectorLedger
  let way: Way
  let isSyncing: Bool
  let isOver: @Sendable () -> Bool
  let seed: UInt64

  /// Says what went wrong before it was over.
  func run() -> String? {
    do {
      let file = try HostFile(images.disk, flags)
      let mapping =
        way == .mapped
        ? try MappedFile(file, size: ledger.sectors * SectorLedger.sectorSize, through: images.path("mapped")) : nil
      var random = SeededRandom(seed: seed)
      while !isOver() { try step(file, mapping, &random) }
      return nil
    } catch {
      return isOver() ? nil : "\(way): \(error)"
    }
  }

  private var flags: Int32 {
    switch way {
    case .cached, .mapped: O_RDWR
    case .synchronous: O_RDWR | O_DSYNC
    case .direct: O_RDWR | Self.oDirect
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
    if !isSyncing { return }
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

  func read(_ count: Int, at offset: Int) throws -> [UInt8] {
    try HostError.check(Int32(truncatingIfNeeded: unsafe pwrite(source.descriptor, start + offset, count, 0)))
    return try source.read(count, at: 0)
  }

  func sync(_ offset: Int, count: Int) throws {
    try HostError.check(unsafe msync(start + offset, count, MS_SYNC))
  }
}
