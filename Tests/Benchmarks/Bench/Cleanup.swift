import Glibc
import HostStorage
import Synchronization

/// What has to be undone however the program ends: mounts, processes, the directory.
final class Cleanup: Sendable {
  /// One thing to undo.
  struct Token: Hashable { fileprivate let number: Int }

  private struct State {
    var undos: [(number: Int, undo: @Sendable () -> Void)] = []
    var count = 0
  }

  private let state = Mutex(State())

  /// Undoes everything on SIGINT, SIGTERM or SIGHUP, and ends the program. To be called before other threads are started.
  func guardAgainstSignals() throws {
    let signals = [SIGINT, SIGTERM, SIGHUP]
    HostSignals.hold(signals)
    try HostThread.start(name: "signals") { [self] in
      let signal = HostSignals.wait(for: signals)
      undoAll()
      _exit(128 + signal)
    }
  }

  /// `undo` must do no harm where there is nothing left to undo.
  func add(_ undo: @escaping @Sendable () -> Void) -> Token {
    state.withLock { state in
      state.count += 1
      state.undos.append((state.count, undo))
      return Token(number: state.count)
    }
  }

  /// It has been undone.
  func remove(_ token: Token) {
    state.withLock { $0.undos.removeAll { $0.number == token.number } }
  }

  /// Undoes one thing now.
  func undo(_ token: Token) {
    let found = state.withLock { $0.undos.first { $0.number == token.number } }
    found?.undo()
    remove(token)
  }

  /// Last things first. The lock is kept, so that nothing new is begun meanwhile.
  func undoAll() {
    state.withLock { state in
      for (_, undo) in state.undos.reversed() { undo() }
      state.undos = []
    }
  }
}
