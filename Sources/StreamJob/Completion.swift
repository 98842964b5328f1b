import BackingChain

/// Stands for one writer of `control`, to withdraw its request by.
package final class CompletionTicket: Sendable {}

/// A line that was worked out, and what that was true for.
struct PlannedLine {
  let plan: CompletionPlan
  let base: Layer?
  let chainNumber: Int
}

/// A completion that was asked for, and who waits for it.
struct Completion {
  struct Waiter: Sendable {
    let ticket = CompletionTicket()
    /// Whether it waits for the outcome, or only until the completion is armed.
    let isBlocking: Bool
    let answer: @Sendable (Result<Void, StreamError>) -> Void
  }

  /// As it was written; empty: to be worked out.
  let line: [UInt8]
  let plan: CompletionPlan
  /// Goes on though nobody waits.
  var isArmed = false
  var waiters: [Waiter] = []

  /// Lets one more wait, or arms.
  mutating func join(_ waiter: Waiter) {
    if waiter.isBlocking { waiters.append(waiter) } else { isArmed = true }
  }
}
