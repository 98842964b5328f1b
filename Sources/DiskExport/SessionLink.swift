import FUSESession
import Synchronization

/// The way to the session for those whom it asks: they exist before it, and it keeps them.
final class SessionLink: Sendable {
  private struct State {
    weak var session: FUSESession?
  }

  private let state = Mutex(State())

  /// nil before the mount and after its end.
  var session: FUSESession? { state.withLock { $0.session } }

  func connect(_ session: FUSESession) {
    state.withLock { $0.session = session }
  }
}
