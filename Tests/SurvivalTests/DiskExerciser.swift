import CLinux
import Foundation
import Glibc
import TestSupport
import Testing

/// One guest that reads and writes the disk in every way at random, against the bytes that it should read; what fsx is for
/// file systems.
struct DiskExerciser {
  private enum Step: CaseIterable {
    case read, mappedRead, directRead
    case write, mappedWrite, directWrite, punch, zero
    case sync, reopen
  }

  private let images: MountedImages
  private var random: SeededRandom
  private(set) var model: [UInt8]
  private var file: HostFile
  private var direct: HostFile
  /// nil: the mount has no page cache, so that nothing can be mapped.
  private var mapping: MappedFile?
  private let isMapped: Bool
  /// The last steps, for a person; the seed does all of them again.
  private var log: [String] = []

  init(_ images: MountedImages, model: [UInt8], isMapped: Bool, seed: UInt64) throws {
    self.images = images
    self.isMapped = isMapped
    self.model = model
    random = SeededRandom(seed: seed)
    (file, direct, mapping) = try Self.open(images, size: model.count, isMapped: isMapped)
  }

  private static func open(
    _ images: MountedImages, size: Int, isMapped: Bool
  ) throws -> (HostFile, HostFile, MappedFile?) {
    let file = try HostFile(images.disk)
    let mapping = isMapped ? try MappedFile(file, size: size, through: images.path("exerciser")) : nil
    return (file, try HostFile(images.disk, O_RDWR | GuestWriter.oDirect), mapping)
  }

  /// Does so many steps. Throws at the first that goes wrong.
  mutating func run(steps: Int) throws {
    for _ in 0..<steps {
      let step = Step.allCases.randomElement(using: &random) ?? .read
      var range = random.range(below: model.count, longest: random.oneIn(10) ? 1 << 18 : 20_000)
      if step == .directRead || step == .directWrite {
        range = range.lowerBound / 512 * 512..<(range.upperBound + 511) / 512 * 512
      }
      log = log.suffix(30) + ["\(step) \(range)"]
      do { try take(step, range) } catch { throw Failure(description: "\(error) after \(log.joined(separator: ", "))") }
    }
  }

  private mutating func take(_ step: Step, _ range: Range<Int>) throws {
    switch step {
    case .read: try expect(file.read(range.count, at: range.lowerBound), range)
    case .mappedRead: try expect((mapping?.read ?? file.read)(range.count, range.lowerBound), range)
    case .directRead: try expect(direct.read(range.count, at: range.lowerBound), range)
    case .write, .mappedWrite, .directWrite:
      let bytes = random.bytes(count: range.count)
      model.replaceSubrange(range, with: bytes)
      if step == .mappedWrite, let mapping {
        try mapping.write(bytes, at: range.lowerBound)
      } else {
        let count = try (step == .directWrite ? direct : file).write(bytes, at: range.lowerBound)
        if count != bytes.count { throw Failure(description: "\(count) bytes were taken") }
      }
    case .punch, .zero:
      let mode = step == .punch ? FLATCOW_FALLOC_PUNCH_HOLE : FLATCOW_FALLOC_ZERO_RANGE
      model.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
      try HostError.check(
        fallocate(file.descriptor, mode | FLATCOW_FALLOC_KEEP_SIZE, range.lowerBound, range.count))
    case .sync: try HostError.check(fsync(file.descriptor))
    case .reopen: (file, direct, mapping) = try Self.open(images, size: model.count, isMapped: isMapped)
    }
    let size = lseek(file.descriptor, 0, SEEK_END)
    if size != model.count { throw Failure(description: "the size is \(size)") }
  }

  private func expect(_ found: [UInt8], _ range: Range<Int>) throws {
    if Data(found) == Data(model[range]) { return }
    let place = zip(found, range).first { $0 != model[$1] }?.1 ?? range.lowerBound + found.count
    throw Failure(description: "byte \(place) is not what was written")
  }

  struct Failure: Error, CustomStringConvertible { let description: String }
}
