/// Which bytes a disk may hold after a crash: per 512-byte sector the value at the last completed flush, or any that
/// was written since.
///
/// A test notes each guest write *before* it is made and each flush *after* it returned, with the storage's log
/// position at that moment; `violation(in:at:)` is then the oracle for a crash at any position.
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

  /// The writes noted so far.
  package struct Mark: Sendable { fileprivate let newest: [Int] }

  package var mark: Mark { Mark(newest: allowed.map { $0.count - 1 }) }

  /// A flush that covers every write before `mark` (nil: every one noted so far) has returned; the log's length is
  /// `position`. No other flush was noted since the mark.
  package mutating func didFlush(_ mark: Mark? = nil, position: Int) {
    let mark = mark ?? self.mark
    for (sector, newest) in mark.newest.enumerated() { allowed[sector].removeFirst(newest) }
    history.append((position, allowed))
  }

  /// How many notes hold at a crash at `position`: with the same number, the same disks are allowed.
  package func notes(at position: Int) -> Int { (history.lastIndex { $0.position <= position } ?? 0) + 1 }

  /// The first sector of a disk, found after a crash at `position`, that holds what it must not: one that is foreign, before
  /// one that is lost.
  package func violation(in disk: [UInt8], at position: Int) -> Violation? {
    let past = history.prefix(notes(at: position))
    guard let allowed = past.last?.allowed else { return nil }
    var lost: Violation?
    for (sector, values) in allowed.enumerated() {
      let start = sector * Self.sector
      let found = Array(disk[min(start, disk.count)..<min(start + Self.sector, disk.count)])
      if values.contains(found) { continue }
      let wasOnceThere = past.contains { $0.allowed[sector].contains(found) }
      let violation = Violation(sector: sector, isForeign: !wasOnceThere, found: found, allowed: values)
      if violation.isForeign { return violation }
      lost = lost ?? violation
    }
    return lost
  }

  package struct Violation: CustomStringConvertible, Sendable {
    package let sector: Int
    /// What the sector never held; otherwise it holds something older than what was flushed.
    package let isForeign: Bool
    package let found: [UInt8]
    package let allowed: [[UInt8]]

    package var description: String {
      "sector \(sector) begins \(found.prefix(8)), \(isForeign ? "foreign" : "old"); allowed: \(allowed.map { Array($0.prefix(8)) })"
    }
  }
}
