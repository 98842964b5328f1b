import Glibc

/// Tells a thread's employer when the thread is about to wait: for the host's disk, for a sync, for another thread. Who
/// shares work among few threads lets another one go on meanwhile.
package enum BlockingCall {
  private final class Handler {
    let call: () -> Void
    init(_ call: @escaping () -> Void) { self.call = call }
  }

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let result = unsafe pthread_key_create(&key, nil)
    precondition(result == 0, "a process has at most 1024 thread-local keys, and they are used up")
    return key
  }()

  /// Runs `body`; whenever it is about to wait, `handler` is called first, in the same thread. It must not wait itself, and
  /// may take innermost locks only, for the caller may hold any other.
  package static func announced(to handler: @escaping () -> Void, during body: () -> Void) {
    let handler = Handler(handler)
    withExtendedLifetime(handler) {
      unsafe pthread_setspecific(key, Unmanaged.passUnretained(handler).toOpaque())
      defer { pthread_setspecific(key, nil) }
      body()
    }
  }

  /// Whether somebody wants to know.
  static var isAnnounced: Bool { unsafe pthread_getspecific(key) != nil }

  /// Says that the calling thread is about to wait.
  static func announce() {
    guard let handler = unsafe pthread_getspecific(key) else { return }
    unsafe Unmanaged<Handler>.fromOpaque(handler)._withUnsafeGuaranteedRef { $0.call() }
  }
}
