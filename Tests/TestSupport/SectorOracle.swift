/// Which bytes a disk may hold after a crash: per 512-byte sector the value at the last completed flush, or any that
/// was written since.
///
/// A test notes each guest write *before* it is made and each flush *after* it returned, with the storage's log
/// position at that moment; `allowed(at:)` is then the oracle for a crash at any position.
package struct SectorOracle: Sendable {
  package static let sector = 512

  /// Per sector the values that it may have; the newest is last.
  private var allowed: [[[UInt8]]]
  private var history: [(position: Int, allowed: [[[UInt8]]])]

  /// A disk whose bytes are durable.
  package init(_ disk: [UInt8]) {
    allowed = stride(from: 0, to: disk.count, by: Self.sector).map {
      [Array(disk[$0..<min($0 + Self.sector, disk.count)])]
    }
    history = [(0, allowed)]
  }

  /// The guest is about to write `bytes` (zeros for a discard); the log's length is `position`.
  package mutating func willWrite(_ bytes: [UInt8], at offset: Int, position: Int) {
    let end = offset + bytes.count
    for sector in (offset / Self.sector)..<((end + Self.sector - 1) / Self.sector) {
      guard var value = allowed[sector].last else { continue }
      let start = sector * Self.sector
      for index in max(offset, start)..<min(end, start + value.count) { value[index - start] = bytes[index - offset] }
      allowed[sector].append(value)
    }
    history.append((position, allowed))
  }

  /// A flush that covers every write noted so far has returned; the log's length is `position`.
  package mutating func didFlush(position: Int) {
    allowed = allowed.map { Array($0.suffix(1)) }
    history.append((position, allowed))
  }

  /// The first sector of a disk, found after a crash at `position`, that holds what it must not.
  package func violation(in disk: [UInt8], at position: Int) -> Violation? {
    guard let allowed = history.last(where: { $0.position <= position })?.allowed else { return nil }
    for (sector, values) in allowed.enumerated() {
      let start = sector * Self.sector
      let found = Array(disk[min(start, disk.count)..<min(start + Self.sector, disk.count)])
      if !values.contains(found) { return Violation(sector: sector, found: found, allowed: values) }
    }
    return nil
  }

  package struct Violation: CustomStringConvertible, Sendable {
    package let sector: Int
    package let found: [UInt8]
    package let allowed: [[UInt8]]

    package var description: String {
      "sector \(sector) begins \(found.prefix(8)); allowed: \(allowed.map { Array($0.prefix(8)) })"
    }
  }
}
