/// What is known of the bytes that were written to the disk.
package enum Durability: Sendable {
  /// No flush that was tried has failed since the last one that succeeded.
  case kept
  /// The last flush failed, and what it was to make durable is not; a later one may succeed.
  case failing(ChainError)
  /// A sync failed, or bytes that the guest believes to be written could not be: no later flush succeeds.
  case lost(ChainError)

  /// What stands in its way.
  package var failure: ChainError? {
    switch self {
    case .kept: nil
    case .failing(let error), .lost(let error): error
    }
  }

  /// For a person.
  package var sentence: String {
    switch self {
    case .kept: "what was written is durable again"
    case .failing(let error): "what was written is not durable yet, and is tried again: \(error)"
    case .lost(let error):
      "written data was lost, and nothing can be completed any more: copy what is needed, and unmount (\(error))"
    }
  }

  /// Whether `new` is another state. A loss is final, and its first cause the one that counts.
  func moves(to new: Durability) -> Bool {
    switch (self, new) {
    case (.kept, .kept), (.failing, .failing), (.lost, _): false
    default: true
    }
  }
}
