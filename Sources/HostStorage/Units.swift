/// A number of bytes. Never negative when it came through this module's checks.
public struct ByteCount: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral {
  public var bytes: Int

  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
  @inlinable public init(integerLiteral value: Int) { bytes = value }

  @inlinable public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  @inlinable public static func + (left: Self, right: Self) -> Self { Self(left.bytes + right.bytes) }
  @inlinable public static func - (left: Self, right: Self) -> Self { Self(left.bytes - right.bytes) }
  @inlinable public static func * (left: Self, right: Int) -> Self { Self(left.bytes * right) }
  @inlinable public static func += (left: inout Self, right: Self) { left.bytes += right.bytes }
  @inlinable public static func -= (left: inout Self, right: Self) { left.bytes -= right.bytes }

  /// The smallest multiple of `unit` that is not below this count.
  @inlinable public func roundedUp(to unit: ByteCount) -> Self { Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes) }
  @inlinable public func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
}

/// A position in bytes; the conforming types keep guest and host positions apart.
public protocol ByteOffset: Hashable, Comparable, Sendable {
  var bytes: Int { get }
  init(_ bytes: Int)
}

extension ByteOffset {
  @inlinable public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
  @inlinable public static func + (left: Self, right: ByteCount) -> Self { Self(left.bytes + right.bytes) }
  @inlinable public static func - (left: Self, right: ByteCount) -> Self { Self(left.bytes - right.bytes) }
  @inlinable public static func - (left: Self, right: Self) -> ByteCount { ByteCount(left.bytes - right.bytes) }
  @inlinable public static func += (left: inout Self, right: ByteCount) { left = left + right }

  @inlinable public func roundedDown(to unit: ByteCount) -> Self { Self(bytes / unit.bytes * unit.bytes) }
  @inlinable public func roundedUp(to unit: ByteCount) -> Self {
    Self((bytes + unit.bytes - 1) / unit.bytes * unit.bytes)
  }
  /// How far into its `unit` this offset lies.
  @inlinable public func remainder(in unit: ByteCount) -> ByteCount { ByteCount(bytes % unit.bytes) }
}

/// A position in a host file.
public struct HostOffset: ByteOffset {
  public let bytes: Int
  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
}

/// A range of bytes from `start` up to, not including, `end`.
public struct ByteRange<Offset: ByteOffset>: Hashable, Sendable {
  public var start: Offset
  public var count: ByteCount

  @inlinable public init(at start: Offset, count: ByteCount) {
    self.start = start
    self.count = count
  }
  @inlinable public init(from start: Offset, to end: Offset) { self.init(at: start, count: end - start) }

  @inlinable public var end: Offset { start + count }
  @inlinable public var isEmpty: Bool { count.bytes <= 0 }

  @inlinable public func overlaps(_ other: Self) -> Bool { start < other.end && other.start < end }
  @inlinable public func contains(_ other: Self) -> Bool { start <= other.start && other.end <= end }
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

public typealias HostRange = ByteRange<HostOffset>

extension ByteRange: CustomStringConvertible {
  @inlinable public var description: String { "\(start.bytes)+\(count.bytes)" }
}
