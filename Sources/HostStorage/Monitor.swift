import CLinux
public import Synchronization

/// A lock that can be waited on: state that is only seen under its lock, and threads that sleep until it becomes what
/// they need.
///
/// Nobody has to remember to notify: leaving `withLock` wakes every waiter to look again. Looking without changing is
/// `read`, which wakes nobody. Waiters are few and their looks are short; with none, a `withLock` costs one load more
/// than a `Lock`.
///
/// How no wake-up is lost: `changes` moves only under the lock, a waiter notes it under the lock in which it found
/// the state unfit, and the kernel puts the waiter to sleep only if the number is still the same.
public final class Monitor<State: ~Copyable>: Sendable {
  @usableFromInline let state: Lock<State>
  @usableFromInline let changes = Atomic<UInt32>(0)
  @usableFromInline let waiters = Atomic<Int>(0)

  /// With its first state.
  @inlinable public init(_ state: consuming sending State) {
    self.state = Lock(state)
  }

  /// Runs `body` with the state, then wakes the waiters.
  @inlinable public func withLock<Result: ~Copyable, E: Error>(
    _ body: (inout sending State) throws(E) -> sending Result
  ) throws(E) -> sending Result {
    defer { wake() }
    return try state.withLock { (state: inout sending State) throws(E) -> sending Result in
      defer { noteChange() }
      return try body(&state)
    }
  }

  /// Runs `body` with the state, which it cannot change.
  @inlinable public func read<Result: ~Copyable, E: Error>(
    _ body: (borrowing State) throws(E) -> sending Result
  ) throws(E) -> sending Result {
    try state.withLock { (state: inout sending State) throws(E) -> sending Result in
      try body(state)
    }
  }

  /// Sleeps until `body` returns a value, and returns it. `body` runs under the lock, at first and whenever the state
  /// may have changed; where it returns nil it must have changed nothing.
  public func wait<Result: ~Copyable>(until body: (inout sending State) -> sending Result?) -> sending Result {
    while true {
      if let result = wait(deadline: .now + .seconds(3600), until: body) { return result }
    }
  }

  /// As `wait(until:)`, but gives up with nil once `deadline` has passed.
  public func wait<Result: ~Copyable>(
    deadline: SuspendingClock.Instant, until body: (inout sending State) -> sending Result?
  ) -> sending Result? {
    waiters.add(1, ordering: .sequentiallyConsistent)
    defer { waiters.subtract(1, ordering: .sequentiallyConsistent) }
    while true {
      var seen: UInt32 = 0
      let result = state.withLock { (state: inout sending State) -> sending Result? in
        let result = body(&state)
        if result != nil { noteChange() } else { seen = changes.load(ordering: .relaxed) }
        return result
      }
      if let result {
        wake()
        return result
      }
      let left = deadline - .now
      if left <= .zero { return nil }
      sleep(while: seen, atMost: left)
    }
  }

  /// Called with the lock held.
  @inlinable func noteChange() {
    changes.add(1, ordering: .relaxed)
  }

  @inlinable func wake() {
    if waiters.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
  }

  @usableFromInline func wakeAll() {
    unsafe withUnsafePointer(to: changes) { word in _ = unsafe flatcow_futex_wake(word, .max) }
  }

  private func sleep(while seen: UInt32, atMost time: Duration) {
    BlockingCall.announce()
    let (seconds, attoseconds) = time.components
    unsafe withUnsafePointer(to: changes) { word in
      _ = unsafe flatcow_futex_wait(word, seen, Int(seconds), Int(attoseconds / 1_000_000_000))
    }
  }
}
