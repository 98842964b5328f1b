import BackingChain
import ImageFormat
import Synchronization

/// What went wrong with the disk's bytes: counted, and each distinct fault said once.
final class FaultLog: Sendable {
  /// A disk whose every sector fails must fill neither the log nor the memory.
  private static let limit = 1000

  private struct State {
    var known: Set<String> = []
    var errors = 0
    var corruptions = 0
    var last = ""
  }

  private let state = Mutex(State())
  private let log: @Sendable (String) -> Void

  init(log: @escaping @Sendable (String) -> Void) {
    self.log = log
  }

  var errors: Int { state.withLock { $0.errors } }
  var corruptions: Int { state.withLock { $0.corruptions } }
  /// The last fault, a sentence; empty when there was none.
  var last: String { state.withLock { $0.last } }

  func note(_ error: ChainError) {
    let line = state.withLock { state -> String? in
      state.errors += 1
      if error.cause?.code == .corrupt { state.corruptions += 1 }
      state.last = error.message
      guard state.known.count < Self.limit, state.known.insert(error.message).inserted else { return nil }
      let isLast = state.known.count == Self.limit
      return isLast ? "\(error.message); faults that come after this one are only counted" : error.message
    }
    if let line { log(line) }
  }
}
