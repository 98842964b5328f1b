/// A number of bytes. Never negative when it came through this module's checks.
package struct ByteCount: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral {
  package var bytes: Int

  package init(_ bytes: Int) { self.bytes = bytes }
  package init(integerLiteral value: Int) { bytes = value }

  package static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  package static func + (left: Self, right: Self) -> Self { Self(left.bytes + right.bytes) }
  package static func - (left: Self, right: Self) -> Self { Self(left.bytes - right.bytes) }
  package static func * (left: Self, right: Int) -> Self { Self(left.bytes * right) }
  package static func += (left: inout Self, right: Self) { left.bytes += right.bytes }
  package static func -= (left: inout Self, right: Self) { left.bytes -= right.bytes }

  /// The smallest multiple of `unit` that is not below this count.
  package func roundedUp(to unit: ByteCount) -> Self { Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes) }
  package func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
}

/// A position in bytes; the conforming types keep guest and host positions apart.
package protocol ByteOffset: Hashable, Comparable, Sendable {
  var bytes: Int { get }
  init(_ bytes: Int)
}

extension ByteOffset {
  package static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  package static func + (left: Self, right: ByteCount) -> Self { Self(left.bytes + right.bytes) }
  package static func - (left: Self, right: ByteCount) -> Self { Self(left.bytes - right.bytes) }
  package static func - (left: Self, right: Self) -> ByteCount { ByteCount(left.bytes - right.bytes) }
  package static func += (left: inout Self, right: ByteCount) { left = left + right }

  package func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
  package func roundedUp(to unit: ByteCount) -> Self {
    Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes)
  }
  /// How far into its `unit` this offset lies.
  package func remainder(in unit: ByteCount) -> ByteCount { ByteCount(bytes % unit.bytes) }
}

/// A position in a host file.
package struct HostOffset: ByteOffset {
  package let bytes: Int
  package init(_ bytes: Int) { self.bytes = bytes }
}

/// A range of bytes from `start` up to, not including, `end`.
package struct ByteRange<Offset: ByteOffset>: Hashable, Sendable {
  package var start: Offset
  package var count: ByteCount

  package init(at start: Offset, count: ByteCount) {
    self.start = start
    self.count = count
  }
  package init(from start: Offset, to end: Offset) { self.init(at: start, count: end - start) }

  package var end: Offset { start + count }
  package var isEmpty: Bool { count.bytes <= 0 }

  package func overlaps(_ other: Self) -> Bool { start < other.end && other.start < end }
  package func contains(_ other: Self) -> Bool { start <= other.start && other.end <= end }
  package func clamped(to limits: Self) -> Self {
    let first = max(start, limits.start)
    return Self(from: first, to: max(first, min(end, limits.end)))
  }
  /// The smallest range of whole units that covers this one.
  package func roundedOut(to unit: ByteCount) -> Self {
    Self(from: start.roundedDown(to: unit), to: end.roundedUp(to: unit))
  }
  /// The largest range of whole units inside this one; empty when there is none.
  package func roundedIn(to unit: ByteCount) -> Self {
    let first = start.roundedUp(to: unit)
    return Self(from: first, to: max(first, end.roundedDown(to: unit)))
  }
}

package typealias HostRange = ByteRange<HostOffset>

extension ByteRange: CustomStringConvertible {
  package var description: String { "\(start.bytes)+\(count.bytes)" }
}
