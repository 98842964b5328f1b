/// The number by which the kernel knows a file.
package struct InodeNumber: Hashable, Sendable {
  package var rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// The directory that is mounted.
  package static let root = Self(1)
}

/// The file system's own number for an open file.
package struct FileHandle: Hashable, Sendable {
  package var rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// A file that somebody has open.
package struct OpenFile: Hashable, Sendable {
  package var inode: InodeNumber
  package var handle: FileHandle

  package init(inode: InodeNumber, handle: FileHandle) {
    self.inode = inode
    self.handle = handle
  }
}

/// A position in a file of the mounted tree, in bytes; never negative.
package struct FileOffset: Hashable, Sendable {
  package var bytes: Int
  package init(_ bytes: Int) { self.bytes = bytes }
}

/// Bytes of a file of the mounted tree.
package struct FileRange: Hashable, Sendable {
  package var start: FileOffset
  /// In bytes; never negative.
  package var count: Int

  package init(at start: FileOffset, count: Int) {
    self.start = start
    self.count = count
  }
}

/// Who asks. All zero when the kernel itself does, in a write-back.
package struct Caller: Hashable, Sendable {
  package var user: UInt32
  package var group: UInt32
  package var process: Int32

  package init(user: UInt32, group: UInt32, process: Int32) {
    self.user = user
    self.group = group
    self.process = process
  }
}
