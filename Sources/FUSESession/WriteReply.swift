/// The duty to answer one write.
///
/// It is answered before `FileSystem.write` returns, or turned into a `HeldWrite`. One that is forgotten answers
/// EIO.
package struct WriteReply: ~Copyable {
  private let request: Request
  private let session: FUSESession

  init(_ request: consuming Request, session: FUSESession) {
    self.request = request
    self.session = session
  }

  /// All `count` bytes, or the first `count` of them, were written.
  package consuming func succeed(count: Int) { request.succeed(written: count) }

  /// Nothing is said about which of the bytes were written.
  package consuming func fail(_ error: Errno) { request.fail(error) }

  /// Keeps the writer waiting after `FileSystem.write` has returned; no thread waits with it.
  package consuming func hold() -> HeldWrite { HeldWrite(request, session: session) }
}

/// Only a `HeldWrite` may leave the thread of its request: it keeps the session alive.
@available(*, unavailable)
extension WriteReply: Sendable {}
