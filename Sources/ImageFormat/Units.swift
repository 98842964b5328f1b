public import HostStorage

/// A position in the disk that the guest sees.
public struct GuestOffset: ByteOffset {
  /// The distance from the disk's beginning.
  public let bytes: Int
  /// The position `bytes` behind the disk's beginning.
  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
}

/// A range of the guest's disk.
public typealias GuestRange = ByteRange<GuestOffset>
