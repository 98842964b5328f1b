/// Why a file system could not be mounted, served or unmounted.
package struct FUSESessionError: Error, Equatable, Sendable {
  /// What kind of failure it is; control flow looks at this and at nothing else.
  package enum Code: Sendable {
    /// The kernel or libfuse refused the mount.
    case mount
    /// The connection to the kernel broke.
    case connection
    /// The file system is in use and was not unmounted.
    case busy
    /// The unmount failed for another reason.
    case unmount
  }

  package var code: Code
  /// The host's error number; EIO where there is none of its own.
  package var errno: Int32
  /// The mount point.
  package var path: String
  /// One clause for a person.
  package var reason: String

  package init(_ code: Code, errno: Int32 = 5, path: String, reason: String) {
    self.code = code
    self.errno = errno
    self.path = path
    self.reason = reason
  }
}
