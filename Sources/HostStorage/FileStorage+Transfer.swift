import Glibc
import Synchronization

extension FileStorage {
  /// pread(2) until all is there or the file ends. After an error `output` holds what came before it.
  package func read(
    _ count: ByteCount, at offset: HostOffset, into output: inout OutputSpan<UInt8>
  ) throws(StorageError) {
    try checkReadable(to: offset + count)
    try failing("read", at: offset) { () throws(Errno) in
      var done = 0
      while done < count.bytes {
        let got = try readSome(count.bytes - done, at: offset.bytes + done, into: &output)
        if got == 0 { return noteEndMet(at: offset + ByteCount(done)) }
        done += got
      }
    }
  }

  /// Where somebody wants to know that the thread will wait for the disk, the page cache is asked first.
  private func readSome(_ count: Int, at offset: Int, into output: inout OutputSpan<UInt8>) throws(Errno) -> Int {
    if BlockingCall.isAnnounced {
      if let got = readCached(count, at: offset, into: &output) { return got }
      BlockingCall.announce()
    }
    return try Syscall.read(descriptor, count, at: offset, into: &output)
  }

  /// At least a byte of what the host has in memory; nil where it has none, or cannot tell. Linux 5.10 may answer 0 before
  /// the end of the file, and some file systems fail for no reason: only bytes are an answer (preadv2(2), "Bugs").
  private func readCached(_ count: Int, at offset: Int, into output: inout OutputSpan<UInt8>) -> Int? {
    guard tellsCached.load(ordering: .relaxed) else { return nil }
    do throws(Errno) {
      let got = try Syscall.read(descriptor, count, at: offset, into: &output, waiting: false)
      return got > 0 ? got : nil
    } catch {
      if error.code == EOPNOTSUPP { tellsCached.store(false, ordering: .relaxed) }
      return nil
    }
  }

  /// pwrite(2) until all is written.
  package func write(_ bytes: Span<UInt8>, at offset: HostOffset) throws(StorageError) {
    try checkLength(before: "write")
    try failing("write", at: offset) { () throws(Errno) in try writeAll(bytes, at: offset) }
    if !bytes.isEmpty { noteEnd(offset + ByteCount(bytes.count)) }
  }

  func writeAll(_ bytes: Span<UInt8>, at offset: HostOffset) throws(Errno) {
    var done = 0
    while done < bytes.count {
      done += try Syscall.write(descriptor, bytes.extracting(done...), at: offset.bytes + done)
    }
  }

  /// Any two files may share blocks, until the first try with one of that device has told otherwise.
  package func mayClone(from source: any Storage) -> Bool {
    guard let source = source as? FileStorage else { return false }
    return !unclonable.withLock { $0.contains(source.identity.device) }
  }

  /// FICLONERANGE; false for whatever reason: the caller's way through a buffer then finds out on which side.
  package func clone(_ count: ByteCount, from source: any Storage, at sourceOffset: HostOffset, to offset: HostOffset)
    throws(StorageError) -> Bool
  {
    guard let source = source as? FileStorage else { return false }
    try source.checkReadable(to: sourceOffset + count)
    try checkLength(before: "write")
    do throws(Errno) {
      try Syscall.cloneRange(
        count.bytes, from: source.descriptor, at: sourceOffset.bytes, to: descriptor, at: offset.bytes)
      noteEnd(offset + count)
      return true
    } catch {
      if [EOPNOTSUPP, ENOSYS, ENOTTY, EXDEV].contains(error.code) {
        unclonable.withLock { _ = $0.insert(source.identity.device) }
      }
      return false
    }
  }
}
