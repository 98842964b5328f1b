import FUSESession

/// A file or directory of the tree. The raw value is the inode number that it shows.
///
/// The kernel gets an inode of its own at each look-up of a file that takes words, whose lowest eight bits are the raw value.
/// A write that waits (one to `control` does) holds its inode's lock in the kernel, and with a write-back cache the kernel
/// takes the longest write for the file's size: neither may be in the way of another writer or reader.
enum Node: UInt64, CaseIterable, Sendable {
  case root = 1
  case disk, control, chain, status, metrics, stream
  case state, progress, remaining, speed, onError, base, error

  init?(_ inode: InodeNumber) { self.init(rawValue: inode.rawValue & 0xFF) }

  /// The number that directories and stat(2) show.
  var inode: InodeNumber { InodeNumber(rawValue) }

  /// What the kernel asks by after look-up number `lookup`.
  func inode(lookup: UInt64) -> InodeNumber { InodeNumber(lookup << 8 | rawValue) }

  var name: String {
    switch self {
    case .root: ""
    case .status: "status.json"
    case .onError: "on-error"
    default: "\(self)"
    }
  }

  var parent: Node {
    switch self {
    case .state, .progress, .remaining, .speed, .onError, .base, .error: .stream
    default: .root
    }
  }

  var kind: FileKind { self == .root || self == .stream ? .directory : .regular }

  var children: [Node] { Self.allCases.filter { $0.parent == self && $0 != .root } }

  /// Of everything but `disk`, where an option decides.
  var permissions: UInt32 {
    switch self {
    case .root, .stream: 0o555
    case .disk, .control: 0o600
    case .state, .speed, .onError, .base: 0o644
    case .chain, .status, .metrics, .progress, .remaining, .error: 0o444
    }
  }

  /// Whether it is written word by word.
  var takesWords: Bool { self != .disk && permissions & 0o200 != 0 }
}
