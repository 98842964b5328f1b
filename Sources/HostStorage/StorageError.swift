import Glibc

/// Why an operation on a storage failed.
package struct StorageError: Error, Equatable, Sendable {
  /// What kind of failure it is; control flow looks at this and at nothing else.
  package enum Code: Sendable {
    /// The host refused or failed the call: `errno` says why.
    case host
    /// Another program holds a lock on the image.
    case locked
    /// An earlier sync failed; nothing written since can be trusted to be durable.
    case syncLost
    /// Another program has cut the file off while it was open: what lay behind is lost, and it takes no change any more.
    case cut
  }

  package var code: Code
  /// The host's error number; EIO where there is none of its own.
  package var errno: Int32
  /// The call, as a person says it: "read", "write", "sync".
  package var operation: String
  package var path: String
  package var offset: HostOffset?
  /// More for a person: who holds the lock, say.
  package var detail: String?

  package init(
    code: Code = .host, errno: Int32, operation: String, path: String, offset: HostOffset? = nil,
    detail: String? = nil
  ) {
    self.code = code
    self.errno = errno
    self.operation = operation
    self.path = path
    self.offset = offset
    self.detail = detail
  }
}

extension StorageError: CustomStringConvertible {
  /// "cannot read /images/base.raw at 65536: Input/output error".
  package var description: String {
    let place = offset.map { " at \($0.bytes)" } ?? ""
    let reason =
      switch code {
      case .host: reason(of: errno)
      case .locked: "another program is using it"
      case .syncLost: "some of what was written is lost, nobody knows which: \(reason(of: errno))"
      case .cut: "another program has cut the file off while it was in use, and what lay behind is lost"
      }
    let more = detail.map { " (\($0))" } ?? ""
    return "cannot \(operation) \(printable(Array(path.utf8)))\(place): \(reason)\(more)"
  }
}

private func reason(of errno: Int32) -> String {
  unsafe strerror(errno).map { unsafe String(cString: $0) } ?? "error \(errno)"
}
