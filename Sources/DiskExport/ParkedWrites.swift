import BackingChain
import HostStorage
import ImageFormat

/// Write-backs that met a full host. The kernel would drop the page of one that is refused, so it waits here, holding
/// no thread, until there is space again or its time is over.
final class ParkedWrites: Sendable {
  typealias Answer = @Sendable (Result<Void, ChainError>) -> Void

  /// A file that is removed on the host helps at once; asking costs a flush of the image. A discard of this disk does not:
  /// the kernel keeps it until every write-back is answered.
  private static let interval: Duration = .seconds(1)

  private struct Write: Sendable {
    let bytes: [UInt8]
    let offset: GuestOffset
    let deadline: SuspendingClock.Instant
    let answer: Answer
  }

  private struct State {
    /// Oldest first.
    var writes: [Write] = []
    var hasThread = false
  }

  private let chain: BackingChain
  private let timeout: Duration
  private let onFull: @Sendable () -> Void
  private let state = Monitor(State())

  /// `onFull` is called when the first write is parked, and again when one is after all had been written.
  init(chain: BackingChain, timeout: Duration, onFull: @escaping @Sendable () -> Void) {
    self.chain = chain
    self.timeout = timeout
    self.onFull = onFull
  }

  var count: Int { state.read { $0.writes.count } }

  /// Writes `bytes` as soon as there is space, and then, or when it has failed, calls `answer` once, by another thread.
  func park(_ bytes: [UInt8], at offset: GuestOffset, answer: @escaping Answer) {
    let write = Write(bytes: bytes, offset: offset, deadline: .now + timeout, answer: answer)
    let startsThread = state.withLock { state in
      state.writes.append(write)
      defer { state.hasThread = true }
      return !state.hasThread
    }
    guard startsThread else { return }
    onFull()
    do throws(StorageError) {
      try HostThread.start(name: "flatcow-parked") { self.run() }
    } catch {
      let writes = state.withLock { state in
        defer { state = State() }
        return state.writes
      }
      for write in writes { write.answer(.failure(ChainError(error))) }
    }
  }

  /// Ends when nothing is parked any more.
  private func run() {
    while let write = first() {
      let result = Result { () throws(ChainError) in try chain.write(write.bytes.span, at: write.offset) }
      if case .failure(let error) = result, error.isOutOfSpace, .now < write.deadline {
        HostThread.sleep(Self.interval)
      } else {
        state.withLock { _ = $0.writes.removeFirst() }
        write.answer(result)
      }
    }
  }

  private func first() -> Write? {
    state.withLock { state in
      state.hasThread = !state.writes.isEmpty
      return state.writes.first
    }
  }
}
