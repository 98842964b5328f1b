import HostStorage
import Synchronization

/// The size of `disk` as the kernel sees it. With its write-back cache the kernel keeps a size of its own, which a write
/// past the end makes grow, and which nothing but a truncation puts right.
///
/// That truncation is made by another process: a thread of this one that waits for an answer of this one could not be
/// killed. The process stands in the mount and makes sure that it is this one before it touches anything: another one, or a
/// plain directory, may have come to lie at its path.
final class SizeInKernel: Sendable {
  private struct State {
    /// When the kernel has sent what lay past the end.
    var grewAt: SuspendingClock.Instant?
    var isToBeRestored = false
    var hasThread = false
  }

  /// For how long after a write past the end writers are told. The kernel slows a fast writer down by sleeps of up to
  /// 200 ms, so it comes by within this time.
  private static let patience: Duration = .seconds(1)

  private let state = Mutex(State())
  private let arguments: [String]

  init(mountPoint: String, size: ByteCount) {
    let script = #"""
      cd -P -- "$1" && grep -q "\"pid\": $PPID," status.json && exec truncate --no-create --size="$2" disk
      """#
    arguments = ["-c", script, "sh", mountPoint, String(size.bytes)]
  }

  /// Whether somebody has just written past the end.
  var isWrong: Bool {
    state.withLock { state in state.grewAt.map { .now - $0 < Self.patience } ?? false }
  }

  /// Has it put right, soon.
  func restore() {
    let startsThread = state.withLock { state in
      state.grewAt = .now
      state.isToBeRestored = true
      defer { state.hasThread = true }
      return !state.hasThread
    }
    guard startsThread else { return }
    do throws(StorageError) {
      try HostThread.start(name: "flatcow-size") { self.run() }
    } catch {
      // The next write past the end tries again.
      state.withLock { $0.hasThread = false }
    }
  }

  private func run() {
    while begin() { _ = try? HostProcess.run("/bin/sh", arguments) }
  }

  /// Whether there is something to do, again.
  private func begin() -> Bool {
    state.withLock { state in
      state.hasThread = state.isToBeRestored
      state.isToBeRestored = false
      return state.hasThread
    }
  }
}
