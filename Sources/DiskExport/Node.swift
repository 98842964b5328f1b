import FUSESession

/// A file or directory of the tree; the raw value is its inode number.
enum Node: UInt64, CaseIterable, Sendable {
  case root = 1
  case disk, control, chain, status, metrics, stream
  case state, progress, remaining, speed, onError, base, error

  /// From here on every number means `control`. A write to it that waits holds its inode's lock in the kernel, so each
  /// look-up gets an inode of its own: neither a second writer nor a reader waits for the first.
  static let firstControl: UInt64 = 1 << 32

  init?(_ inode: InodeNumber) {
    if inode.rawValue >= Self.firstControl { self = .control } else { self.init(rawValue: inode.rawValue) }
  }

  var inode: InodeNumber { InodeNumber(rawValue) }

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

  var isWritable: Bool { permissions & 0o200 != 0 }
}
