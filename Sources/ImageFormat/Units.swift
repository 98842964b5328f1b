public import HostStorage

/// A position in the disk that the guest sees.
public struct GuestOffset: ByteOffset {
  public let bytes: Int
  @inlinable public init(_ bytes: Int) { self.bytes = bytes }
}

public typealias GuestRange = ByteRange<GuestOffset>
