import CFUSE

/// The kernel's wish to be told when the events of an open file may have changed.
package final class PollHandle: Sendable {
  private let bits: UInt
  private let session: FUSESession

  init(_ pointer: OpaquePointer, session: FUSESession) {
    bits = UInt(bitPattern: pointer)
    self.session = session
  }

  deinit { unsafe fuse_pollhandle_destroy(OpaquePointer(bitPattern: bits)) }

  /// Wakes everybody who polls the file; they ask again. A connection that has ended has nobody to wake.
  package func notify() { _ = unsafe fuse_lowlevel_notify_poll(OpaquePointer(bitPattern: bits)) }
}
