package import HostStorage
package import ImageFormat

/// Why a chain could not be opened, read, written or completed.
package struct ChainError: Error, Sendable {
  /// What kind of failure it is; control flow looks at this and at nothing else.
  package enum Code: Sendable {
    /// A layer's image failed or was refused by its format: see `cause`.
    case image
    /// The storage below a layer failed: see `storage`.
    case storage
    /// A file that the operator named does not exist.
    case notFound
    /// A name found inside an image that may not be opened: its place, its protocol, its kind of file.
    case refusedName
    /// No format is recorded or given, or none of this name is known.
    case unknownFormat
    /// The same file twice in the chain, or a layer that lies on the mount itself.
    case loop
    /// More layers than `max-depth`.
    case tooDeep
    /// Another program holds a lock on a layer.
    case locked
    /// A layer's file was changed on the host since it was opened.
    case changed
    /// A backing-file string that names no layer of the chain.
    case notInChain
    /// The chain was opened for reading only, or takes no more writes.
    case readOnly
    /// No room on the host, or none in the header.
    case noSpace
    /// A backing-file string that is longer than a header can hold.
    case nameTooLong
    /// A backing-file string that cannot be recorded: empty, with a NUL byte, or the active image itself.
    case invalidName
    /// Internal snapshots of the active layer still need the backing file.
    case snapshotsNeedBacking
    /// The backing-file string cannot be worked out: one has to be written.
    case ambiguous
    /// The header may or may not have been changed.
    case outcomeUnknown
    /// A completion has let the layer go since it was looked up. The request begins again, with the chain as it is then;
    /// nobody else sees this.
    case letGo
    /// A combination of options that makes no sense.
    case usage
  }

  package var code: Code
  /// The file that it is about.
  package var path: String
  /// A sentence for a person: what failed, on which file, why, and the way out.
  package var message: String
  package var cause: ImageError?
  package var storage: StorageError?

  package init(
    _ code: Code, path: String, message: String, cause: ImageError? = nil, storage: StorageError? = nil
  ) {
    self.code = code
    self.path = path
    self.message = message
    self.cause = cause
    self.storage = storage
  }

  package init(_ cause: StorageError) {
    self.init(
      cause.code == .locked ? .locked : .storage, path: cause.path, message: cause.description, storage: cause)
  }

  package init(_ cause: ImageError) {
    let code: Code =
      switch cause.code {
      case .storage: cause.cause?.code == .locked ? .locked : .storage
      case .noSpace: .noSpace
      case .nameTooLong: .nameTooLong
      case .outcomeUnknown: .outcomeUnknown
      case .notThisFormat, .corrupt, .unsupported, .refused: .image
      }
    self.init(code, path: cause.path, message: cause.description, cause: cause, storage: cause.cause)
  }
}

extension ChainError: CustomStringConvertible {
  package var description: String { message }
}
