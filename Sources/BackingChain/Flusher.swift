import Glibc
import HostStorage
import ImageFormat
import Synchronization

/// Flushes the active image by itself now and then, so that a process that is killed loses little, and the tables that wait
/// for a flush stay few.
final class Flusher: Sendable {
  /// As long as unsynced data lives in a file system's journal by default.
  static let interval: Duration = .seconds(5)
  /// So many bytes allocated that a flush is due at once; at 64 KiB clusters, a thousand changed L2 tables at worst.
  static let limit: ByteCount = ByteCount(64 << 20)

  private let image: any WritableImage
  private let state = Monitor(State())

  /// Bytes that were allocated since the last flush began; -1: nothing was even written.
  private let unflushed = Atomic<Int>(Flusher.clean)
  private static let clean = -1

  private struct State {
    var isStopped = false
    var loss: ChainError?
    var thread: HostThread?
  }

  init(image: any WritableImage) {
    self.image = image
  }

  /// The first failure since which nothing is known to be durable.
  var loss: ChainError? { state.read { $0.loss } }

  /// Notes a write that allocated so many bytes. The first write starts the thread.
  func note(allocated count: ByteCount) {
    if unflushed.compareExchange(expected: Self.clean, desired: count.bytes, ordering: .relaxed).exchanged {
      state.withLock { state in
        guard state.thread == nil, !state.isStopped else { return }
        // Without a thread, data waits for the guest's own fsync.
        state.thread = try? HostThread.start(name: "flatcow-flush") { self.run() }
      }
    } else if count > 0 {
      let (before, now) = unflushed.add(count.bytes, ordering: .relaxed)
      // The thread is only woken when it has something to do, for that costs more than a write.
      if before < Self.limit.bytes && now >= Self.limit.bytes { state.withLock { _ in } }
    }
  }

  func lose(because error: ChainError) { state.withLock { $0.loss = $0.loss ?? error } }

  func flush() throws(ChainError) {
    if loss != nil {
      throw ChainError(StorageError(code: .syncLost, errno: EIO, operation: "sync", path: image.storage.path))
    }
    unflushed.store(Self.clean, ordering: .sequentiallyConsistent)
    try watching { () throws(ImageError) in try image.flush() }
  }

  /// Runs what syncs the image: after a sync that failed, or a header of which nothing is known, no later flush succeeds.
  func watching(_ body: () throws(ImageError) -> Void) throws(ChainError) {
    do {
      try body()
    } catch {
      if error.code == .outcomeUnknown || error.cause?.isLostSync == true { lose(because: ChainError(error)) }
      throw ChainError(error)
    }
  }

  /// Ends the thread, and returns when it touches the image no more; what is unflushed is the caller's to flush.
  func stop() {
    let thread = state.withLock { state in
      state.isStopped = true
      return state.thread
    }
    thread?.join()
  }

  private func run() {
    while true {
      state.wait(deadline: .now + Self.interval) { state in
        state.isStopped || unflushed.load(ordering: .relaxed) >= Self.limit.bytes ? () : nil
      }
      if state.read({ $0.isStopped }) { return }
      // The guest hears of a failure from its own fsync: a lost sync fails for ever, and anything else is tried again then.
      if unflushed.load(ordering: .sequentiallyConsistent) != Self.clean { try? flush() }
    }
  }
}

extension StorageError {
  fileprivate var isLostSync: Bool { code == .syncLost || operation == "sync" }
}
