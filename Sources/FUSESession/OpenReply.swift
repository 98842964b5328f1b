import Glibc

/// The flags of open(2). O_CREAT, O_EXCL and O_TRUNC never arrive.
package struct OpenFlags: Hashable, Sendable {
  package var rawValue: Int32
  package init(rawValue: Int32) { self.rawValue = rawValue }

  package var isWritable: Bool { rawValue & O_ACCMODE != O_RDONLY }
  package var isReadable: Bool { rawValue & O_ACCMODE != O_WRONLY }
  package var isNonBlocking: Bool { rawValue & O_NONBLOCK != 0 }
  /// O_DSYNC, or O_SYNC, which contains it: whatever is done by the file is durable when it returns.
  package var isSynchronous: Bool { rawValue & O_DSYNC != 0 }
  /// O_DIRECT, whose value differs between architectures and which Glibc's module leaves out.
  package var isDirect: Bool {
    #if arch(arm64) || arch(arm)
      rawValue & 0o200000 != 0
    #else
      rawValue & 0o40000 != 0
    #endif
  }
}

/// How an opened file is to be treated by the kernel.
package struct OpenReply: Equatable, Sendable {
  package var handle: FileHandle
  /// Past the page cache: every read and write becomes a request of the caller's own size.
  package var usesDirectIO: Bool
  /// Pages that are cached from an earlier open stay valid.
  package var keepsCache: Bool
  /// Direct writes inside the file's size need not wait for each other (kernel 6.2 and later).
  package var allowsParallelWrites: Bool

  package init(
    _ handle: FileHandle, usesDirectIO: Bool = false, keepsCache: Bool = false, allowsParallelWrites: Bool = false
  ) {
    self.handle = handle
    self.usesDirectIO = usesDirectIO
    self.keepsCache = keepsCache
    self.allowsParallelWrites = allowsParallelWrites
  }
}

/// Where the bytes of a write come from.
package enum WriteKind: Sendable {
  /// A write(2), or a part of one, that waits for the answer.
  case direct
  /// The same with O_DSYNC, O_SYNC, RWF_DSYNC or RWF_SYNC: the bytes are durable before the answer. Past the page cache
  /// this is all that the kernel says of it; no fsync follows.
  case synchronous
  /// Dirty pages that the kernel sends when it likes; an error reaches, if anybody, the next fsync.
  case writeback
}

/// What lseek(2) looks for.
package enum SeekTarget: Sendable {
  case data
  case hole
}
