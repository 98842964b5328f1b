package import HostStorage

/// Why an image could not be opened, read or changed.
package struct ImageError: Error, Sendable {
  /// What kind of failure it is; control flow looks at this and at nothing else.
  package enum Code: Sendable {
    /// The storage below failed: see `cause`.
    case storage
    /// Not an image of this format.
    case notThisFormat
    /// The image breaks a rule of its format; the affected range or the whole image cannot be used.
    case corrupt
    /// A feature that is not supported, named in `reason`.
    case unsupported
    /// Not allowed by the way that it was opened: read-only, corrupt bit, bitmaps that must be dropped first.
    case refused
    /// No free host cluster, or no room in the header.
    case noSpace
    /// The name is longer than the format allows.
    case nameTooLong
    /// The header may or may not have been changed, and the old one could not be put back.
    case outcomeUnknown
  }

  package var code: Code
  package var path: String
  /// One clause for a person, without the path: "the L1 table lies past the end of the file".
  package var reason: String
  package var offset: GuestOffset?
  package var cause: StorageError?

  package init(
    _ code: Code, path: String, reason: String, offset: GuestOffset? = nil, cause: StorageError? = nil
  ) {
    self.code = code
    self.path = path
    self.reason = reason
    self.offset = offset
    self.cause = cause
  }

  package init(_ cause: StorageError) {
    self.init(.storage, path: cause.path, reason: "cannot \(cause.operation)", cause: cause)
  }
}

extension ImageError: CustomStringConvertible {
  /// "/images/top.qcow2: the L1 table lies past the end of the file".
  package var description: String {
    if let cause { return code == .storage ? cause.description : "\(reason): \(cause)" }
    let place = offset.map { " (guest offset \($0.bytes))" } ?? ""
    return "\(printable(Array(path.utf8))): \(reason)\(place)"
  }
}
