/// A number of bytes. Never negative when it came through this module's checks.
public struct ByteCount: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral {
  /// The number.
  public var bytes: Int

  /// So many bytes.
  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
  /// So many bytes, as a literal.
  @inlinable public init(integerLiteral value: Int) { bytes = value }

  /// Whether the left is the smaller.
  @inlinable public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  /// Both together.
  @inlinable public static func + (left: Self, right: Self) -> Self { Self(left.bytes + right.bytes) }
  /// What the left has more.
  @inlinable public static func - (left: Self, right: Self) -> Self { Self(left.bytes - right.bytes) }
  /// So many times the left.
  @inlinable public static func * (left: Self, right: Int) -> Self { Self(left.bytes * right) }
  /// Adds the right.
  @inlinable public static func += (left: inout Self, right: Self) { left.bytes += right.bytes }
  /// Takes the right away.
  @inlinable public static func -= (left: inout Self, right: Self) { left.bytes -= right.bytes }

  /// The smallest multiple of `unit` that is not below this count.
  @inlinable public func roundedUp(to unit: ByteCount) -> Self {
    Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes)
  }
  /// The largest multiple of `unit` that is not above this count.
  @inlinable public func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
}

/// A position in bytes; the conforming types keep guest and host positions apart.
public protocol ByteOffset: Hashable, Comparable, Sendable {
  var bytes: Int { get }
  init(_ bytes: Int)
}

extension ByteOffset {
  /// Whether the left comes first.
  @inlinable public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  /// So many bytes further on.
  @inlinable public static func + (left: Self, right: ByteCount) -> Self { Self(left.bytes + right.bytes) }
  /// So many bytes before.
  @inlinable public static func - (left: Self, right: ByteCount) -> Self { Self(left.bytes - right.bytes) }
  /// How far the left lies behind the right.
  @inlinable public static func - (left: Self, right: Self) -> ByteCount { ByteCount(left.bytes - right.bytes) }
  /// Goes so many bytes on.
  @inlinable public static func += (left: inout Self, right: ByteCount) { left = left + right }

  /// The last multiple of `unit` up to here.
  @inlinable public func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
  /// The first multiple of `unit` from here on.
  @inlinable public func roundedUp(to unit: ByteCount) -> Self {
    Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes)
  }
  /// How far into its `unit` this offset lies.
  @inlinable public func remainder(in unit: ByteCount) -> ByteCount { ByteCount(bytes % unit.bytes) }
}

/// A position in a host file.
public struct HostOffset: ByteOffset {
  /// The distance from the file's beginning.
  public let bytes: Int
  /// The position `bytes` behind the file's beginning.
  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
}

/// A range of bytes from `start` up to, not including, `end`.
public struct ByteRange<Offset: ByteOffset>: Hashable, Sendable {
  /// Where it begins.
  public var start: Offset
  /// How long it is.
  public var count: ByteCount

  /// `count` bytes from `start` on.
  @inlinable public init(at start: Offset, count: ByteCount) {
    self.start = start
    self.count = count
  }
  /// From `start` up to, not including, `end`.
  @inlinable public init(from start: Offset, to end: Offset) { self.init(at: start, count: end - start) }

  /// The first position behind it.
  @inlinable public var end: Offset { start + count }
  /// Whether it has no bytes.
  @inlinable public var isEmpty: Bool { count.bytes <= 0 }

  /// Whether some byte is in both.
  @inlinable public func overlaps(_ other: Self) -> Bool { start < other.end && other.start < end }
  /// Whether every byte of `other` is in it.
  @inlinable public func contains(_ other: Self) -> Bool { start <= other.start && other.end <= end }
  /// What of it lies in `limits`; empty where nothing does.
  @inlinable public func clamped(to limits: Self) -> Self {
    let first = max(start, limits.start)
    return Self(from: first, to: max(first, min(end, limits.end)))
  }
  /// The smallest range of whole units that covers this one.
  @inlinable public func roundedOut(to unit: ByteCount) -> Self {
    Self(from: start.roundedDown(to: unit), to: end.roundedUp(to: unit))
  }
  /// The largest range of whole units inside this one; empty when there is none.
  @inlinable public func roundedIn(to unit: ByteCount) -> Self {
    let first = start.roundedUp(to: unit)
    return Self(from: first, to: max(first, end.roundedDown(to: unit)))
  }
}

/// A range of a host file.
public typealias HostRange = ByteRange<HostOffset>

extension ByteRange: CustomStringConvertible {
  /// Start and length, for messages.
  @inlinable public var description: String { "\(start.bytes)+\(count.bytes)" }
}
