import CFUSE
import Synchronization

/// A write whose answer comes later, from any thread. The first answer counts; when the last reference goes
/// without one, the answer is EIO.
///
/// The kernel may interrupt the writer at any time: before the write is held, before a handler is set, while it
/// runs, or after the answer. What makes all of these safe:
///
/// * libfuse calls `interrupted` for a request with that request's lock held, and keeps the request for the time
///   of the call, also when it is answered meanwhile. What it passes is a number, not an address: a number whose
///   write was answered leads nowhere.
/// * The handler runs once, on a serving thread or on the one that sets it, with no lock of this module held. It
///   may answer.
/// * libfuse could call back from inside `init`, with a lock that must not be freed under it; no handler exists
///   then, so nothing can answer: only a mark is set, which `onInterrupt` finds.
package final class HeldWrite: Sendable {
  private struct State: ~Copyable {
    /// nil: answered.
    var request: Request?
    var isInterrupted = false
    var handler: (@Sendable () -> Void)?
  }

  private struct Registry {
    var nextNumber: UInt = 1
    var waiting: [UInt: Waiting] = [:]
  }

  private struct Waiting {
    weak let write: HeldWrite?
  }

  private static let registry = Mutex(Registry())

  private let state: Mutex<State>
  private let session: FUSESession
  private let number: UInt

  init(_ request: consuming Request, session: FUSESession) {
    let pointer = unsafe request.pointer
    state = Mutex(State(request: request))
    self.session = session
    number = Self.registry.withLock { registry in
      defer { registry.nextNumber += 1 }
      return registry.nextNumber
    }
    Self.registry.withLock { $0.waiting[number] = Waiting(write: self) }
    unsafe fuse_req_interrupt_func(
      pointer,
      { _, number in HeldWrite.interrupted(UInt(bitPattern: number)) },
      UnsafeMutableRawPointer(bitPattern: number))
  }

  /// Answers while the session is still kept.
  deinit { _ = take() }

  /// Calls `handler` when the kernel interrupts the writer, at once if it already has. The handler must not block:
  /// the kernel's requests wait behind it.
  package func onInterrupt(_ handler: @escaping @Sendable () -> Void) {
    let isLate = state.withLock { state in
      if !state.isInterrupted, state.request != nil { state.handler = handler }
      return state.isInterrupted
    }
    if isLate { handler() }
  }

  /// Whether this was the answer, and not an earlier one.
  @discardableResult
  package func succeed(count: Int) -> Bool {
    guard let request = take() else { return false }
    request.succeed(written: count)
    return true
  }

  /// Whether this was the answer, and not an earlier one.
  @discardableResult
  package func fail(_ error: Errno) -> Bool {
    guard let request = take() else { return false }
    request.fail(error)
    return true
  }

  private func take() -> Request? {
    Self.registry.withLock { _ = $0.waiting.removeValue(forKey: number) }
    return state.withLock { state in
      state.handler = nil
      return state.request.take()
    }
  }

  private static func interrupted(_ number: UInt) {
    let write = registry.withLock { $0.waiting[number]?.write }
    let handler = write?.state.withLock { state in
      state.isInterrupted = true
      return state.handler.take()
    }
    handler?()
  }
}
