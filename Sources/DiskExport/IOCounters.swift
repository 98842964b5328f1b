import Synchronization

/// What the guest has asked of `disk` since it was mounted.
final class IOCounters: Sendable {
  /// One kind of request: how many succeeded, and their bytes.
  struct Counter: ~Copyable {
    private let requestCount = Atomic<Int>(0)
    private let byteCount = Atomic<Int>(0)

    borrowing func add(bytes: Int) {
      requestCount.add(1, ordering: .relaxed)
      byteCount.add(bytes, ordering: .relaxed)
    }

    var requests: Int { requestCount.load(ordering: .relaxed) }
    var bytes: Int { byteCount.load(ordering: .relaxed) }
  }

  let reads = Counter()
  let writes = Counter()
  let zeros = Counter()
  let flushes = Counter()
}
