import CLinux
public import Synchronization

/// A mutual exclusion for short stretches that many threads come to, with the interface of `Mutex`.
///
/// A `Mutex` that is contended is handed from thread to thread by the kernel, a context switch each time. Here whoever comes
/// first takes it, and only threads that find it taken for long sleep. The `Mutex` inside, which nobody ever waits for, is
/// how the compiler knows that the state is guarded.
public struct Lock<State: ~Copyable>: ~Copyable, Sendable {
  @usableFromInline let gate = Gate()
  @usableFromInline let state: Mutex<State>

  /// With its first state.
  @inlinable public init(_ state: consuming sending State) {
    self.state = Mutex(state)
  }

  /// Runs `body` with the state, alone.
  @inlinable public borrowing func withLock<Result: ~Copyable, E: Error>(
    _ body: (inout sending State) throws(E) -> sending Result
  ) throws(E) -> sending Result {
    gate.enter()
    defer { gate.leave() }
    return try state.withLock(body)
  }
}

/// A lock made of one word (U. Drepper, "Futexes Are Tricky", the second mutex).
@usableFromInline
struct Gate: ~Copyable, Sendable {
  @usableFromInline let word = Atomic<UInt32>(Gate.free)

  @usableFromInline static let free: UInt32 = 0
  @usableFromInline static let taken: UInt32 = 1
  /// Taken, and somebody may sleep.
  @usableFromInline static let contended: UInt32 = 2
  /// Looks before sleeping: about as long as a short stretch takes.
  private static let looks = 100

  @usableFromInline init() {}

  @inlinable borrowing func enter() {
    if !word.compareExchange(expected: Gate.free, desired: Gate.taken, ordering: .acquiring).exchanged { enterSlowly() }
  }

  @inlinable borrowing func leave() {
    if word.exchange(Gate.free, ordering: .releasing) == Gate.contended { wakeOne() }
  }

  @usableFromInline borrowing func enterSlowly() {
    for _ in 0..<Self.looks
    where word.load(ordering: .relaxed) == Self.free
      && word.weakCompareExchange(expected: Self.free, desired: Self.taken, ordering: .acquiring).exchanged
    {
      return
    }
    while word.exchange(Self.contended, ordering: .acquiring) != Self.free {
      unsafe withUnsafePointer(to: word) { word in _ = unsafe flatcow_futex_wait(word, Self.contended, 3600, 0) }
    }
  }

  @usableFromInline borrowing func wakeOne() {
    unsafe withUnsafePointer(to: word) { word in _ = unsafe flatcow_futex_wake(word, 1) }
  }
}
