/// Big-endian numbers in byte buffers, the way every field of qcow2 is stored.
///
/// All positions are checked against the buffer; reading or writing past its end is a programmer's error.
package enum BigEndian {
  /// The number that starts at byte `position`.
  package static func load<Number: FixedWidthInteger & BitwiseCopyable>(
    _ type: Number.Type, from bytes: Span<UInt8>, at position: Int
  ) -> Number {
    precondition(position >= 0 && position + MemoryLayout<Number>.size <= bytes.count)
    return unsafe bytes.withUnsafeBytes { buffer in
      Number(bigEndian: unsafe buffer.loadUnaligned(fromByteOffset: position, as: type))
    }
  }

  /// Puts `number` where byte `position` is its first.
  package static func store<Number: FixedWidthInteger & BitwiseCopyable>(
    _ number: Number, into bytes: inout [UInt8], at position: Int
  ) {
    precondition(position >= 0 && position + MemoryLayout<Number>.size <= bytes.count)
    unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe buffer.storeBytes(of: number.bigEndian, toByteOffset: position, as: Number.self)
    }
  }

  /// The 64-bit words of `bytes`; an incomplete last word is left out.
  package static func words(in bytes: Span<UInt8>) -> [UInt64] {
    let count = bytes.count / 8
    // Making an empty array this way writes to the one that all threads share.
    if count == 0 { return [] }
    return unsafe [UInt64](unsafeUninitializedCapacity: count) { words, initialized in
      unsafe bytes.withUnsafeBytes { buffer in
        for index in 0..<count {
          unsafe words[index] = UInt64(bigEndian: buffer.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
        }
      }
      initialized = count
    }
  }

  /// The bytes of `words`, 8 for each.
  package static func bytes(of words: ArraySlice<UInt64>) -> [UInt8] {
    if words.isEmpty { return [] }
    return unsafe [UInt8](unsafeUninitializedCapacity: words.count * 8) { bytes, initialized in
      for (index, word) in words.enumerated() {
        unsafe UnsafeMutableRawBufferPointer(bytes).storeBytes(
          of: word.bigEndian, toByteOffset: index * 8, as: UInt64.self)
      }
      initialized = words.count * 8
    }
  }
}
