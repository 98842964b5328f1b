import Synchronization

/// Knows which requests began before a moment have not ended yet, without a lock.
///
/// A request counts itself in one of two counters, chosen by `phase`, *before* it looks anything up, and out of the
/// same one when it has used what it found. Whoever wants to reuse a host cluster notes a `Ticket` after the mapping
/// was dropped; when each counter has been seen at zero once since then, every request that could have seen the old
/// mapping has ended. Each check turns the phase, so that a counter that new requests keep busy drains.
package final class RequestTracker: Sendable {
  private let phase = Atomic<Int>(0)
  private let first = Atomic<Int>(0)
  private let second = Atomic<Int>(0)

  package init() {}

  /// Which counter a request is in; hand it back to `end`.
  package struct Token: Sendable { let inSecond: Bool }

  /// What has been seen drained since a moment.
  package struct Ticket: Sendable {
    var firstDrained = false
    var secondDrained = false
    package init() {}
  }

  /// Registers a request; to be called before its first look-up.
  package func begin() -> Token {
    let inSecond = phase.load(ordering: .sequentiallyConsistent) & 1 == 1
    count(1, inSecond: inSecond)
    return Token(inSecond: inSecond)
  }

  /// The request has used all that it looked up.
  package func end(_ token: Token) {
    count(-1, inSecond: token.inSecond)
  }

  private func count(_ change: Int, inSecond: Bool) {
    if inSecond {
      second.add(change, ordering: .sequentiallyConsistent)
    } else {
      first.add(change, ordering: .sequentiallyConsistent)
    }
  }

  /// Whether every request that had begun when `ticket` was made has ended. Never blocks.
  package func hasDrained(_ ticket: inout Ticket) -> Bool {
    if first.load(ordering: .sequentiallyConsistent) == 0 { ticket.firstDrained = true }
    if second.load(ordering: .sequentiallyConsistent) == 0 { ticket.secondDrained = true }
    if ticket.firstDrained && ticket.secondDrained { return true }
    // New requests go to the counter that has already been seen empty.
    phase.store(ticket.firstDrained ? 0 : 1, ordering: .sequentiallyConsistent)
    return false
  }
}
