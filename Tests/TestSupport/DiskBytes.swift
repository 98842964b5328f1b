/// Whole disks as arrays of bytes: compared here, where the compiler optimizes.
package enum DiskBytes {
  /// The first 512-byte sector of `found` that is as in none of `allowed`, all disks of one size.
  package static func firstStrangeSector(in found: [UInt8], allowed: [[UInt8]]) -> Int? {
    for start in stride(from: 0, to: found.count, by: 512) {
      let sector = start..<min(start + 512, found.count)
      if !allowed.contains(where: { disk in sector.allSatisfy { disk[$0] == found[$0] } }) { return start / 512 }
    }
    return nil
  }

  /// Bytes for a write to `range` that tell its sectors, and it from others, apart.
  package static func pattern(for range: Range<Int>) -> [UInt8] {
    range.map { UInt8(truncatingIfNeeded: $0 / 512 + range.lowerBound + 1) }
  }
}
