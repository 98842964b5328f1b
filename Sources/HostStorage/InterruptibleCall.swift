import CLinux
import Glibc

/// A blocking call on a thread of its own that another thread can interrupt: the kernel then ends the call with EINTR.
package final class InterruptibleCall<Failure: Error>: Sendable {
  package typealias Outcome = Result<Void, Failure>

  private enum State {
    case starting
    case running(thread: Int32)
    case ended(Outcome)
  }

  private let state = Monitor(State.starting)

  /// Starts `body`, which must not retry a call that was interrupted.
  package init(_ body: @escaping @Sendable () throws(Failure) -> Void) throws(StorageError) {
    let state = state
    _ = try HostThread.start(name: "call") {
      makeInterruptible()
      state.withLock { $0 = .running(thread: flatcow_thread_id()) }
      let outcome = Outcome { () throws(Failure) in try body() }
      state.withLock { $0 = .ended(outcome) }
    }
  }

  /// How the call ended; nil when it has not within `time`.
  package func outcome(within time: Duration) -> Outcome? {
    state.wait(deadline: .now + time) { state in
      if case .ended(let outcome) = state { outcome } else { nil }
    }
  }

  /// Interrupts the call, again and again, since a signal that comes just before the call starts to block is lost.
  /// Returns how it ended.
  package func interrupt() -> Outcome {
    while true {
      // Under the lock, so that the thread is still this one.
      state.read { state in
        if case .running(let thread) = state { _ = flatcow_signal_thread(thread, SIGUSR2) }
      }
      if let outcome = outcome(within: .milliseconds(50)) { return outcome }
    }
  }
}

/// Makes SIGUSR2 do nothing but end a system call of this thread.
private func makeInterruptible() {
  var action = sigaction()
  unsafe action.__sigaction_handler.sa_handler = { _ in }
  unsafe sigaction(SIGUSR2, &action, nil)
  var set = sigset_t()
  unsafe sigemptyset(&set)
  unsafe sigaddset(&set, SIGUSR2)
  unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
}
