extension OutputSpan<UInt8> {
  /// Appends a copy of `bytes`, for which there must be room.
  @_lifetime(self: copy self)
  package mutating func append(copying bytes: Span<UInt8>) {
    precondition(bytes.count <= freeCapacity, "more bytes than the output has room for")
    unsafe withUnsafeMutableBufferPointer { (buffer, count) in
      unsafe bytes.withUnsafeBufferPointer { source in
        let free = unsafe UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[count...]))
        unsafe free.copyMemory(from: UnsafeRawBufferPointer(source))
        count += source.count
      }
    }
  }
}
