/// What the host has of an L2 table or a refcount block that is in memory.
enum WriteState: CaseIterable {
  /// The same: it may be let go, for it can be loaded again.
  case clean
  /// An older one.
  case changed
  /// Nothing that is pointed to, yet.
  case new
  /// What a running flush has frozen, and writes.
  case writing
  case writingNew
  /// The same, and it was changed since.
  case rewritten
  case rewrittenNew
}

/// What happens to a table or a block.
enum WriteEvent: CaseIterable {
  case change
  /// A flush takes it, where there is something to write.
  case freeze
  /// That flush has made it durable, and what points to it.
  case durable
  /// That flush has failed.
  case failed
  /// That flush has failed after new tables were durable: the host may point to them, or not.
  case failedWhenLinked
}

extension WriteState {
  /// The state after `event`; nil where it cannot happen.
  func after(_ event: WriteEvent) -> WriteState? {
    switch (self, event) {
    case (.clean, .change), (.changed, .change): .changed
    case (.new, .change): .new
    case (.writing, .change), (.rewritten, .change): .rewritten
    case (.writingNew, .change), (.rewrittenNew, .change): .rewrittenNew
    case (.clean, .freeze): .clean
    case (.changed, .freeze): .writing
    case (.new, .freeze): .writingNew
    case (.writing, .durable), (.writingNew, .durable): .clean
    case (.rewritten, .durable), (.rewrittenNew, .durable): .changed
    case (.writing, .failed), (.rewritten, .failed): .changed
    case (.writingNew, .failed), (.rewrittenNew, .failed): .new
    case (.writing, .failedWhenLinked), (.rewritten, .failedWhenLinked): .changed
    case (.writingNew, .failedWhenLinked), (.rewrittenNew, .failedWhenLinked): .changed
    default: nil
    }
  }

  mutating func note(_ event: WriteEvent) {
    guard let next = after(event) else { preconditionFailure("\(self) cannot meet \(event)") }
    self = next
  }

  /// Whether the next flush has something to write.
  var isDue: Bool { self == .changed || self == .new || self == .rewritten || self == .rewrittenNew }
}
