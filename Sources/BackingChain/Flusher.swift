import Glibc
import HostStorage
import ImageFormat

/// Flushes the active image by itself now and then, so that a process that is killed loses little, and the tables that wait
/// for a flush stay few.
final class Flusher: Sendable {
  /// As long as unsynced data lives in a file system's journal by default.
  static let interval: Duration = .seconds(5)
  /// So many bytes written that a flush is due at once; at 64 KiB clusters, a thousand changed L2 tables at worst.
  static let limit: ByteCount = ByteCount(64 << 20)

  private let image: any WritableImage
  private let state = Monitor(State())

  private struct State {
    var unflushed: ByteCount = 0
    var isStopped = false
    var loss: ChainError?
    var thread: HostThread?
  }

  init(image: any WritableImage) {
    self.image = image
  }

  /// The first failure since which nothing is known to be durable.
  var loss: ChainError? { state.read { $0.loss } }

  /// Counts what was written. The first write starts the thread.
  func note(written count: ByteCount) {
    state.withLock { state in
      state.unflushed += count
      guard state.thread == nil, !state.isStopped else { return }
      // Without a thread, data waits for the guest's own fsync.
      state.thread = try? HostThread.start(name: "flatcow-flush") { self.run() }
    }
  }

  func lose(because error: ChainError) { state.withLock { $0.loss = $0.loss ?? error } }

  func flush() throws(ChainError) {
    if loss != nil {
      throw ChainError(StorageError(code: .syncLost, errno: EIO, operation: "sync", path: image.storage.path))
    }
    state.withLock { $0.unflushed = 0 }
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
      state.wait(deadline: .now + Self.interval) { $0.isStopped || $0.unflushed >= Self.limit ? () : nil }
      let (isStopped, isDirty) = state.read { ($0.isStopped, $0.unflushed > 0) }
      if isStopped { return }
      // The guest hears of a failure from its own fsync: a lost sync fails for ever, and anything else is tried again then.
      if isDirty { try? flush() }
    }
  }
}

extension StorageError {
  fileprivate var isLostSync: Bool { code == .syncLost || operation == "sync" }
}
