import HostStorage
import Synchronization

/// The size of `disk` as the kernel sees it. With its write-back cache the kernel keeps a size of its own, which a write
/// past the end makes grow, and which nothing but a truncation puts right.
///
/// That truncation is made by another process: a thread of this one that waits for an answer of this one could not be
/// killed. The process stands in the mount and makes sure that it is this one before it touches anything: another one, or a
/// plain directory, may have come to lie at its path.
final class SizeInKernel: Sendable {
  private enum State {
    case right, wrong, beingRestored
  }

  private let state = Mutex(State.right)
  private let arguments: [String]

  init(mountPoint: String, size: ByteCount) {
    let script = #"""
      cd -P -- "$1" && grep -q "\"pid\": $PPID," status.json && exec truncate --no-create --size="$2" disk
      """#
    arguments = ["-c", script, "sh", mountPoint, String(size.bytes)]
  }

  /// Has it put right, soon.
  func restore() {
    let startsThread = state.withLock { state in
      defer { state = .wrong }
      return state == .right
    }
    guard startsThread else { return }
    do throws(StorageError) {
      try HostThread.start(name: "flatcow-size") { self.run() }
    } catch {
      // The next write past the end tries again.
      state.withLock { $0 = .right }
    }
  }

  private func run() {
    while begin() { _ = try? HostProcess.run("/bin/sh", arguments) }
  }

  /// Whether there is something to do, again.
  private func begin() -> Bool {
    state.withLock { state in
      state = state == .wrong ? .beingRestored : .right
      return state == .beingRestored
    }
  }
}
