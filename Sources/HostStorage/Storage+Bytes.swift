extension Storage {
  /// Up to `count` bytes from `offset` on, in an array of their own; fewer where the file ends.
  package func bytes(_ count: ByteCount, at offset: HostOffset) throws(StorageError) -> [UInt8] {
    try [UInt8](capacity: count.bytes) { (output: inout OutputSpan<UInt8>) throws(StorageError) in
      try read(count, at: offset, into: &output)
    }
  }
}
