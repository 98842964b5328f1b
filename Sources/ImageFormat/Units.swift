package import HostStorage

/// A position in the disk that the guest sees.
package struct GuestOffset: ByteOffset {
  package let bytes: Int
  package init(_ bytes: Int) { self.bytes = bytes }
}

package typealias GuestRange = ByteRange<GuestOffset>
