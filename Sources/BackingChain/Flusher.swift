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
  private let interval: Duration
  private let state = Monitor(State())

  /// Bytes that were allocated since the last flush began; -1: nothing was even written.
  private let unflushed = Atomic<Int>(Flusher.clean)
  private static let clean = -1

  private struct State {
    var isStopped = false
    var durability = Durability.kept
    var onChange: @Sendable (Durability) -> Void = { _ in }
    var thread: HostThread?
  }

  init(image: any WritableImage, interval: Duration) {
    self.image = image
    self.interval = interval
  }

  var durability: Durability { state.read { $0.durability } }

  /// Has `handler` called, by any thread, whenever the durability has become another.
  func onChange(_ handler: @escaping @Sendable (Durability) -> Void) { state.withLock { $0.onChange = handler } }

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

  func lose(because error: ChainError) { change(to: .lost(error)) }

  func flush() throws(ChainError) {
    if case .lost = durability {
      throw ChainError(StorageError(code: .syncLost, errno: EIO, operation: "sync", path: image.storage.path))
    }
    try flushing { () throws(ImageError) in try image.flush() }
  }

  /// Flushes for the last time, and leaves the image clean; `stop` came before.
  func finish() throws(ChainError) {
    try flushing { () throws(ImageError) in try image.finish() }
  }

  /// A flush that failed is kept for whoever asks, and tried again; one that succeeds makes up for those before it.
  private func flushing(_ body: () throws(ImageError) -> Void) throws(ChainError) {
    unflushed.store(Self.clean, ordering: .sequentiallyConsistent)
    do throws(ChainError) {
      try watching(body)
    } catch {
      change(to: .failing(error))
      // There is still something to flush, though nobody may write any more.
      note(allocated: 0)
      throw error
    }
    change(to: .kept)
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

  private func change(to new: Durability) {
    let onChange = state.withLock { state -> (@Sendable (Durability) -> Void)? in
      let isChange = state.durability.moves(to: new)
      if isChange { state.durability = new }
      return isChange ? state.onChange : nil
    }
    onChange?(new)
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
      state.wait(deadline: .now + interval) { state in
        state.isStopped || unflushed.load(ordering: .relaxed) >= Self.limit.bytes ? () : nil
      }
      if state.read({ $0.isStopped }) { return }
      // Who asks is told of a failure, and the next round tries again.
      if unflushed.load(ordering: .sequentiallyConsistent) != Self.clean { try? flush() }
    }
  }
}

extension StorageError {
  fileprivate var isLostSync: Bool { code == .syncLost || operation == "sync" }
}
