package import HostStorage

/// Storage in terms of arrays and plain numbers, for tests.
extension Storage {
  /// `count` bytes from `offset` on; fewer where the storage ends.
  package func bytes(at offset: Int = 0, count: Int) throws(StorageError) -> [UInt8] {
    try [UInt8](capacity: count) { (output: inout OutputSpan<UInt8>) throws(StorageError) in
      try read(ByteCount(count), at: HostOffset(offset), into: &output)
    }
  }

  /// Writes all of an array.
  package func write(_ bytes: [UInt8], at offset: Int) throws(StorageError) {
    try write(bytes.span, at: HostOffset(offset))
  }

  package func size() throws(StorageError) -> Int { try status().size.bytes }
}

extension HostRange {
  /// `start+count` as plain numbers.
  package init(_ range: Range<Int>) {
    self.init(from: HostOffset(range.lowerBound), to: HostOffset(range.upperBound))
  }
}
