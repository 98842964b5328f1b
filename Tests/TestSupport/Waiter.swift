import Foundation
import Synchronization

/// A call that may block, made on a thread of its own.
package final class Waiter<Value: Sendable>: Sendable {
  private let value = Mutex<Value?>(nil)
  /// nil before and after the call: a thread that has ended has no name any more.
  private let thread = Mutex<UInt?>(nil)
  private let ended = DispatchSemaphore(value: 0)

  package init(_ work: @escaping @Sendable () -> Value) {
    Thread.detachNewThread { [self] in
      // The test's own thread blocks signals, and a new thread inherits that.
      var none = sigset_t()
      unsafe sigemptyset(&none)
      unsafe pthread_sigmask(SIG_SETMASK, &none, nil)
      thread.withLock { $0 = pthread_self() }
      let result = work()
      thread.withLock { $0 = nil }
      value.withLock { $0 = result }
      ended.signal()
    }
  }

  /// Waits for the call's result.
  package func result() -> Value {
    ended.wait()
    defer { ended.signal() }
    guard let result = value.withLock({ $0 }) else { preconditionFailure("a thread ended without a result") }
    return result
  }

  /// Sends a signal to the thread that makes the call, if it still does.
  package func interrupt(_ signal: Int32) {
    thread.withLock { if let thread = $0 { _ = pthread_kill(thread, signal) } }
  }
}

/// Asks again until there is an answer; nil after ten seconds.
package func eventually<Value>(_ question: () -> Value?) -> Value? {
  for _ in 0..<10_000 {
    if let answer = question() { return answer }
    usleep(1000)
  }
  return nil
}

/// Whether a process has ended, within ten seconds; one that nobody has reaped yet has.
package func hasEnded(_ process: Int32) -> Bool {
  eventually {
    let state = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?.split(separator: ")").last
    return state?.hasPrefix(" Z") ?? true ? true : nil
  } == true
}
