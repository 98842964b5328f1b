/// The kinds of file that the tree can hold.
package enum FileKind: Sendable {
  case regular
  case directory
}

/// What stat(2) says about a file.
package struct FileAttributes: Equatable, Sendable {
  package var inode: InodeNumber
  package var kind: FileKind
  /// The twelve permission bits.
  package var permissions: UInt32
  package var links: Int
  package var owner: UInt32
  package var group: UInt32
  /// In bytes.
  package var size: Int
  /// Space taken, in units of 512 bytes, as stat(2) counts.
  package var blocks: Int
  /// The size that is best for I/O, in bytes.
  package var blockSize: Int
  package var accessed: FileTime
  package var modified: FileTime
  package var changed: FileTime
  /// For how long the kernel may answer with these attributes by itself.
  package var validity: Duration

  package init(
    inode: InodeNumber, kind: FileKind, permissions: UInt32, links: Int = 1, owner: UInt32, group: UInt32,
    size: Int = 0, blocks: Int = 0, blockSize: Int = 4096, accessed: FileTime, modified: FileTime, changed: FileTime,
    validity: Duration = .zero
  ) {
    self.inode = inode
    self.kind = kind
    self.permissions = permissions
    self.links = links
    self.owner = owner
    self.group = group
    self.size = size
    self.blocks = blocks
    self.blockSize = blockSize
    self.accessed = accessed
    self.modified = modified
    self.changed = changed
    self.validity = validity
  }
}

/// A moment in nanoseconds since 1970.
package struct FileTime: Hashable, Sendable {
  package var nanoseconds: Int
  package init(nanoseconds: Int) { self.nanoseconds = nanoseconds }
}

/// What a look-up of a name finds.
package struct Entry: Equatable, Sendable {
  package var attributes: FileAttributes
  /// The number by which the kernel asks for the file from now on; `attributes` has the one that stat(2) shows.
  package var inode: InodeNumber
  /// For how long the kernel may remember that the name leads to this inode.
  package var nameValidity: Duration

  /// The file is asked for by the number that it shows, unless `inode` is another.
  package init(_ attributes: FileAttributes, inode: InodeNumber? = nil, nameValidity: Duration = .zero) {
    self.attributes = attributes
    self.inode = inode ?? attributes.inode
    self.nameValidity = nameValidity
  }
}

/// One name in a directory.
package struct DirectoryEntry: Equatable, Sendable {
  package var name: String
  package var inode: InodeNumber
  package var kind: FileKind

  package init(name: String, inode: InodeNumber, kind: FileKind) {
    self.name = name
    self.inode = inode
    self.kind = kind
  }
}

/// What a chmod, chown, truncate or utimes asks for; nil means unchanged.
package struct AttributeChange: Equatable, Sendable {
  /// A moment that was named, or the one in which the change is made.
  package enum Time: Equatable, Sendable {
    case now
    case at(FileTime)
  }

  package var permissions: UInt32?
  package var owner: UInt32?
  package var group: UInt32?
  package var size: Int?
  package var accessed: Time?
  package var modified: Time?
  /// Set by the kernel with a write-back cache only.
  package var changed: FileTime?
  /// The open file that it came through (ftruncate), where there was one.
  package var handle: FileHandle?

  package init() {}
}

/// What statfs(2) says.
package struct FileSystemSpace: Equatable, Sendable {
  /// In bytes.
  package var blockSize: Int
  /// In blocks of `blockSize`.
  package var blocks: Int
  package var freeBlocks: Int
  package var files: Int

  package init(blockSize: Int, blocks: Int, freeBlocks: Int, files: Int) {
    self.blockSize = blockSize
    self.blocks = blocks
    self.freeBlocks = freeBlocks
    self.files = files
  }
}
