import FUSESession
import Glibc
import Synchronization

/// The open files that hold one value each.
///
/// A value is made when a file is read from its beginning, and what is read further on belongs to the same value. As
/// with sysfs, poll(2) reports POLLPRI and POLLERR when the value may have changed since it was last read.
final class TextFiles: Sendable {
  private struct Open {
    let node: Node
    let isNonBlocking: Bool
    var text: [UInt8] = []
    /// The count of changes when the text was made.
    var seen: Int
    var waiter: PollHandle?
  }

  private struct State {
    var nextHandle: UInt64 = 1
    var open: [FileHandle: Open] = [:]
    var changes = 0
  }

  /// The events of a file that always can be read and written.
  static let ready = UInt32(POLLIN | POLLOUT)
  private static let changed = UInt32(POLLPRI | POLLERR)

  private let state = Mutex(State())
  private let text: @Sendable (Node) -> [UInt8]

  /// `text` says what stands in a file now.
  init(_ text: @escaping @Sendable (Node) -> [UInt8]) {
    self.text = text
  }

  func open(_ node: Node, isNonBlocking: Bool) -> FileHandle {
    state.withLock { state in
      let handle = FileHandle(state.nextHandle)
      state.nextHandle += 1
      state.open[handle] = Open(node: node, isNonBlocking: isNonBlocking, seen: state.changes)
      return handle
    }
  }

  func release(_ handle: FileHandle) {
    // Destroyed after the lock is released.
    let closed = state.withLock { $0.open.removeValue(forKey: handle) }
    _ = consume closed
  }

  func isNonBlocking(_ handle: FileHandle) -> Bool {
    state.withLock { $0.open[handle]?.isNonBlocking ?? false }
  }

  func read(_ range: FileRange, of handle: FileHandle, into output: inout OutputSpan<UInt8>) {
    if range.start.bytes == 0 { renew(handle) }
    let text = state.withLock { $0.open[handle]?.text ?? [] }
    for byte in text.dropFirst(range.start.bytes).prefix(range.count) { output.append(byte) }
  }

  private func renew(_ handle: FileHandle) {
    // Before the value: one that is newer than the count is reported once more, an older one would never be.
    guard let (node, changes) = state.withLock({ state in state.open[handle].map { ($0.node, state.changes) } })
    else { return }
    let text = text(node)
    state.withLock { state in
      state.open[handle]?.text = text
      state.open[handle]?.seen = changes
    }
  }

  /// The job's state has changed: everybody who polls looks again.
  func noteChange() {
    let waiters = state.withLock { state in
      state.changes += 1
      return state.open.keys.compactMap { state.open[$0]?.waiter.take() }
    }
    for waiter in waiters { waiter.notify() }
  }

  /// The events that are true of an open file now; `waiter` is told when they may have changed.
  func poll(_ handle: FileHandle, notify waiter: PollHandle?) -> UInt32 {
    let (events, replaced) = state.withLock { state -> (UInt32, PollHandle?) in
      let open = state.open[handle]
      if let waiter { state.open[handle]?.waiter = waiter }
      let isNews = open.map { $0.node == .state && $0.seen != state.changes } ?? false
      return (isNews ? Self.ready | Self.changed : Self.ready, open?.waiter)
    }
    _ = consume replaced
    return events
  }
}
