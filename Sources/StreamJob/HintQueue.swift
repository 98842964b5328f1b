import HostStorage
import ImageFormat

/// What the guest read from below lately, to be populated first. Bounded: a hint that finds no room is dropped, for
/// the job comes past that range anyway.
struct HintQueue {
  static let capacity = 64
  /// Hints are rounded out to this, so that a row of small reads is one hint.
  static let unit: ByteCount = 65536

  private var ranges: [GuestRange] = []

  mutating func add(_ range: GuestRange) {
    let rounded = range.roundedOut(to: Self.unit)
    guard ranges.count < Self.capacity, !ranges.contains(where: { $0.contains(rounded) }) else { return }
    ranges.append(rounded)
  }

  var isEmpty: Bool { ranges.isEmpty }

  /// The oldest hint, at most `limit` of it.
  mutating func next(atMost limit: ByteCount) -> GuestRange? {
    guard let first = ranges.first else { return nil }
    let range = GuestRange(at: first.start, count: min(first.count, limit))
    ranges[0] = GuestRange(from: range.end, to: first.end)
    if ranges[0].isEmpty { ranges.removeFirst() }
    return range
  }
}
