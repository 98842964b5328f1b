import Glibc
import Synchronization

extension FileStorage {
  /// pread(2) until all is there or the file ends. After an error `output` holds what came before it.
  package func read(
    _ count: ByteCount, at offset: HostOffset, into output: inout OutputSpan<UInt8>
  ) throws(StorageError) {
    try failing("read", at: offset) { () throws(Errno) in
      var done = 0
      while done < count.bytes {
        let got = try Syscall.read(descriptor, count.bytes - done, at: offset.bytes + done, into: &output)
        if got == 0 { break }
        done += got
      }
    }
  }

  /// pwrite(2) until all is written.
  package func write(_ bytes: Span<UInt8>, at offset: HostOffset) throws(StorageError) {
    try failing("write", at: offset) { () throws(Errno) in
      try extending(to: offset + ByteCount(bytes.count)) { () throws(Errno) in try writeAll(bytes, at: offset) }
    }
  }

  func writeAll(_ bytes: Span<UInt8>, at offset: HostOffset) throws(Errno) {
    var done = 0
    while done < bytes.count {
      done += try Syscall.write(descriptor, bytes.extracting(done...), at: offset.bytes + done)
    }
  }

  /// A copy that fails for whatever reason answers 0: the caller's way through a buffer then finds out on which side.
  package func copy(
    _ count: ByteCount, from source: any Storage, at sourceOffset: HostOffset, to offset: HostOffset
  ) throws(StorageError) -> ByteCount {
    guard let source = source as? FileStorage else { return 0 }
    let refusals = copyRefusals.withLock { $0[source.identity, default: []] }
    return extending(to: offset + count) {
      let isAligned = [count.bytes, sourceOffset.bytes, offset.bytes].allSatisfy { $0 % Self.cloneAlignment == 0 }
      if isAligned && !refusals.contains(.clone) {
        do throws(Errno) {
          try Syscall.cloneRange(
            count.bytes, from: source.descriptor, at: sourceOffset.bytes, to: descriptor, at: offset.bytes)
          return count
        } catch {
          remember(.clone, of: source, after: error)
        }
      }
      if !refusals.contains(.kernelCopy) {
        do throws(Errno) {
          let copied = try Syscall.copyRange(
            count.bytes, from: source.descriptor, at: sourceOffset.bytes, to: descriptor, at: offset.bytes)
          return ByteCount(copied)
        } catch {
          remember(.kernelCopy, of: source, after: error)
        }
      }
      return 0
    }
  }

  /// What file systems with reflinks align them to, or a multiple of it.
  private static let cloneAlignment = 4096

  private func remember(_ refusal: CopyRefusal, of source: FileStorage, after error: Errno) {
    guard [EOPNOTSUPP, ENOSYS, ENOTTY, EXDEV].contains(error.code) else { return }
    copyRefusals.withLock { _ = $0[source.identity, default: []].insert(refusal) }
  }

  /// Runs a call that may make the file longer, up to `end`.
  ///
  /// Growing by `ftruncate` is two steps, look and set; done while a write grows the file it would cut that write off
  /// again. So whatever may grow the file takes the lock; calls inside the size that is known to be there do not.
  func extending<Result, E: Error>(to end: HostOffset, _ body: () throws(E) -> Result) throws(E) -> Result {
    if end.bytes <= knownSize.load(ordering: .acquiring) { return try body() }
    return try growth.withLock { _ throws(E) in
      let result = try body()
      if let size = try? status().size { knownSize.store(size.bytes, ordering: .releasing) }
      return result
    }
  }
}

/// The ways of copying inside the kernel that are of no use with some source.
struct CopyRefusal: OptionSet {
  let rawValue: Int
  static let clone = Self(rawValue: 1)
  static let kernelCopy = Self(rawValue: 2)
}
