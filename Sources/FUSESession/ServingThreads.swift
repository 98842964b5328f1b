import CFUSE
import Glibc
import HostStorage
import Synchronization

/// The threads that take a session's requests from the kernel and answer them: as few as there is work for.
///
/// A request that waits, for a disk or for another request, keeps its thread. Beside those that wait, a few are enough:
/// each one more is woken in turn by the kernel, finds its caches cold, and stands in line for the lock of the same host
/// file. The others are parked, the last one parked being the first to be called back.
///
/// Invariant: while the session lasts, at least one thread that does not wait is at /dev/fuse or on its way there, unless
/// `limit` threads wait. A thread that is about to wait says so (`BlockingCall`); who waits without a word is found by the
/// clock, which goes while requests are worked on.
final class ServingThreads: Sendable {
  /// So many threads that do not wait are wanted; one more than can be told from one that has just begun to.
  private static let wanted = 2
  /// Beyond so many, a thread that has answered is parked. More than `wanted`, or they would come and go.
  private static let most = 4
  private static let tick: Duration = .milliseconds(2)
  /// Ticks without a request after which the clock stops.
  private static let patience = 16

  /// The `fuse_session`, which the caller of `run` keeps.
  private let session: FUSESession
  private let limit: Int
  /// Threads that are neither parked nor known to wait.
  private let running = Atomic<Int>(0)
  private let crew = Lock(Crew())
  private let clock = Monitor(Clock())
  /// What the clock shows.
  private let time = Atomic<Int>(1)
  private let clockGoes = Atomic<Bool>(true)

  fileprivate struct Crew {
    var seats: [Seat] = []
    var parked: [Seat] = []
    var isOver = false
  }

  private struct Clock {
    var isWanted = false
    var threads = 0
    /// A negative error number, once.
    var failure: Int32 = 0
  }

  /// One thread's place.
  fileprivate final class Seat: Sendable {
    /// When the request was begun that is worked on; or one of these.
    let since = Atomic<Int>(Seat.idle)
    static let idle = 0
    /// It is known to wait.
    static let waits = -1

    let isCalled = Monitor(false)
  }

  init(session: FUSESession, limit: Int) {
    self.session = session
    self.limit = limit
  }

  /// Returns when the kernel has ended the connection: 0, or a negative error number; -EAGAIN where the host has no thread
  /// to give.
  func run() -> Int32 {
    callIn()
    if clock.read({ $0.threads == 0 }) { return -EAGAIN }
    var quiet = 0
    while clock.read({ $0.threads > 0 }) {
      HostThread.sleep(Self.tick)
      quiet = look() ? 0 : quiet + 1
      if quiet > Self.patience { rest() }
    }
    return clock.read { $0.failure }
  }

  // MARK: A thread's life

  private func serve(_ seat: Seat) {
    var buffer = unsafe fuse_buf()
    defer { unsafe free(buffer.mem) }
    let session = unsafe session.pointer
    var received: Int32 = 0
    while unsafe fuse_session_exited(session) == 0 {
      received = unsafe fuse_session_receive_buf(session, &buffer)
      if received == -EINTR { continue }
      if received <= 0 { break }
      begin(seat)
      unsafe fuse_session_process_buf(session, &buffer)
      finish(seat)
    }
    end(received)
  }

  private func begin(_ seat: Seat) {
    seat.since.store(time.load(ordering: .relaxed), ordering: .sequentiallyConsistent)
    // `rest` looks at the seats after it has stopped the clock: one of the two sees the other.
    if !clockGoes.load(ordering: .sequentiallyConsistent) { clock.withLock { $0.isWanted = true } }
  }

  private func finish(_ seat: Seat) {
    if seat.since.exchange(Seat.idle, ordering: .sequentiallyConsistent) == Seat.waits {
      running.add(1, ordering: .sequentiallyConsistent)
    }
    guard running.load(ordering: .relaxed) > Self.most else { return }
    if running.subtract(1, ordering: .sequentiallyConsistent).newValue >= Self.most {
      park(seat)
    } else {
      running.add(1, ordering: .sequentiallyConsistent)
    }
  }

  /// Whoever calls the seat back counts it among the running.
  private func park(_ seat: Seat) {
    let isParked = crew.withLock { crew in
      if !crew.isOver { crew.parked.append(seat) }
      return !crew.isOver
    }
    if isParked {
      seat.isCalled.wait { isCalled in
        defer { isCalled = false }
        return isCalled ? () : nil
      }
    }
  }

  private func end(_ result: Int32) {
    let parked = crew.withLock { crew in
      defer { crew.parked = [] }
      crew.isOver = true
      return crew.parked
    }
    for seat in parked { seat.isCalled.withLock { $0 = true } }
    clock.withLock { clock in
      clock.threads -= 1
      clock.failure = clock.failure == 0 ? min(0, result) : clock.failure
    }
  }

  // MARK: Enough threads

  /// The seat's thread waits, since a request that began at `since`.
  private func note(_ seat: Seat, waitsSince since: Int) {
    guard seat.since.compareExchange(expected: since, desired: Seat.waits, ordering: .sequentiallyConsistent).exchanged
    else { return }
    running.subtract(1, ordering: .sequentiallyConsistent)
    callIn()
  }

  private func callIn() {
    while running.load(ordering: .sequentiallyConsistent) < min(Self.wanted, limit) {
      guard let (seat, isNew) = crew.withLock({ $0.next(limit: limit) }) else { return }
      running.add(1, ordering: .sequentiallyConsistent)
      if !isNew {
        seat.isCalled.withLock { $0 = true }
      } else if !start(seat) {
        running.subtract(1, ordering: .sequentiallyConsistent)
        return crew.withLock { crew in crew.seats.removeAll { $0 === seat } }
      }
    }
  }

  private func start(_ seat: Seat) -> Bool {
    clock.withLock { $0.threads += 1 }
    let thread = try? HostThread.start(name: "flatcow-serve") {
      BlockingCall.announced {
        let since = seat.since.load(ordering: .sequentiallyConsistent)
        if since > 0 { self.note(seat, waitsSince: since) }
      } during: {
        self.serve(seat)
      }
    }
    if thread == nil { clock.withLock { $0.threads -= 1 } }
    return thread != nil
  }

  // MARK: The clock

  /// Finds the threads that wait without having said so. Returns whether any is at work.
  private func look() -> Bool {
    let now = time.add(1, ordering: .relaxed).newValue
    var isBusy = false
    for seat in crew.withLock({ $0.seats }) {
      let since = seat.since.load(ordering: .sequentiallyConsistent)
      if since > 0 { isBusy = true }
      if since > 0 && now - since >= 2 { note(seat, waitsSince: since) }
    }
    return isBusy
  }

  /// Stops the clock until a request comes, or the session ends.
  private func rest() {
    clockGoes.store(false, ordering: .sequentiallyConsistent)
    if !look() {
      clock.wait { clock -> Void? in
        guard clock.isWanted || clock.threads == 0 else { return nil }
        clock.isWanted = false
        return ()
      }
    }
    clockGoes.store(true, ordering: .sequentiallyConsistent)
  }
}

extension ServingThreads.Crew {
  /// Who is called next: the one that was parked last, or somebody new.
  fileprivate mutating func next(limit: Int) -> (seat: ServingThreads.Seat, isNew: Bool)? {
    if isOver { return nil }
    if let seat = parked.popLast() { return (seat, false) }
    guard seats.count < limit else { return nil }
    let seat = ServingThreads.Seat()
    seats.append(seat)
    return (seat, true)
  }
}
