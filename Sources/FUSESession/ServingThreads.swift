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
/// `limit` threads wait. A thread that is about to wait says so (`BlockingCall`); who waits without a word is found by a
/// look at all of them now and then, which also makes good what a host that was short of threads or memory has refused.
///
/// Lock order: the locks here are innermost, and none is held while a request is worked on.
final class ServingThreads: Sendable {
  /// Threads beyond `wanted` that are not parked when they have answered, or they would come and go.
  private static let slack = 2
  /// So many stay when there is nothing for them to do, for bursts of requests that wait.
  private static let mostParked = 16
  /// Between two looks.
  private static let tick: Duration = .milliseconds(2)
  /// Looks in a row that find nobody at work, after which there is none until a request comes.
  private static let patience = 16

  /// Its `fuse_session` is kept by the caller of `run`.
  private let session: FUSESession
  private let limit: Int
  /// So many threads that do not wait there shall be: one for each processor, and two at least, for one may have begun to
  /// wait and not be found yet.
  private let wanted: Int
  /// Threads that are neither parked nor known to wait.
  private let running = Atomic<Int>(0)
  private let crew = Lock(Crew())
  private let watch = Monitor(Watch())
  /// Counts the looks.
  private let time = Atomic<Int>(1)
  private let isWatched = Atomic<Bool>(true)

  private struct Crew {
    var seats: [Seat] = []
    var parked: [Seat] = []
    var isOver = false

    /// Who is called next: the one that was parked last, or somebody new.
    mutating func next(limit: Int) -> (seat: Seat, isNew: Bool)? {
      guard hasNext(limit: limit) else { return nil }
      if let seat = parked.popLast() { return (seat, false) }
      let seat = Seat()
      seats.append(seat)
      return (seat, true)
    }

    func hasNext(limit: Int) -> Bool { !isOver && (!parked.isEmpty || seats.count < limit) }
  }

  /// What `run` sleeps for.
  private struct Watch {
    /// A request came while nobody looked.
    var isCalled = false
    /// Threads that have not ended.
    var threads = 0
  }

  /// One thread's place.
  private final class Seat: Sendable {
    /// The time when the request was begun that is worked on, or `idle`, or `waits`.
    let since = Atomic<Int>(Seat.idle)
    static let idle = 0
    /// Its thread is known to wait.
    static let waits = -1

    let isCalled = Monitor(false)
  }

  init(session: FUSESession, limit: Int) {
    self.session = session
    self.limit = limit
    wanted = min(limit, max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
  }

  /// Returns when the kernel has ended the connection; false at once where the host has no thread to give.
  func run() -> Bool {
    callIn()
    if crew.withLock({ $0.seats.isEmpty && !$0.isOver }) { return false }
    var quiet = 0
    while watch.wait(deadline: .now + Self.tick, until: { $0.threads == 0 ? true : nil }) == nil {
      let isBusy = findWaiting()
      callIn()
      quiet = isBusy || isShort ? 0 : quiet + 1
      if quiet > Self.patience { rest() }
    }
    return true
  }

  // MARK: A thread's life

  private func serve(_ seat: Seat) {
    var buffer = unsafe fuse_buf()
    defer { unsafe free(buffer.mem) }
    let session = unsafe session.pointer
    while unsafe fuse_session_exited(session) == 0 {
      let received = unsafe fuse_session_receive_buf(session, &buffer)
      switch received {
      case 1...:
        begin(seat)
        unsafe fuse_session_process_buf(session, &buffer)
        if !finish(seat) { return }
      case 0, -ECONNABORTED: return end()
      case -EINTR: continue
      // No memory for the buffer, say. Only the kernel ends a session.
      default: HostThread.sleep(Self.tick)
      }
    }
    end()
  }

  private func begin(_ seat: Seat) {
    seat.since.store(time.load(ordering: .relaxed), ordering: .sequentiallyConsistent)
    // `rest` looks at the seats after it has said that nobody looks: one of the two sees the other.
    if !isWatched.load(ordering: .sequentiallyConsistent) { watch.withLock { $0.isCalled = true } }
  }

  /// Returns whether the thread is to go on: at once, or after it was parked.
  private func finish(_ seat: Seat) -> Bool {
    if seat.since.exchange(Seat.idle, ordering: .sequentiallyConsistent) == Seat.waits {
      running.add(1, ordering: .sequentiallyConsistent)
    }
    let most = wanted + Self.slack
    guard running.load(ordering: .relaxed) > most else { return true }
    // Who looks for somebody to call, finds this one among the running or among the parked.
    let (isParked, goesOn) = crew.withLock { crew -> (Bool, Bool) in
      guard !crew.isOver, running.subtract(1, ordering: .sequentiallyConsistent).newValue >= most else {
        if !crew.isOver { running.add(1, ordering: .sequentiallyConsistent) }
        return (false, true)
      }
      if crew.parked.count < Self.mostParked {
        crew.parked.append(seat)
        return (true, true)
      }
      crew.seats.removeAll { $0 === seat }
      return (false, false)
    }
    if isParked {
      // Whoever calls it back counts it among the running.
      seat.isCalled.wait { isCalled in
        defer { isCalled = false }
        return isCalled ? () : nil
      }
    }
    return goesOn
  }

  /// The connection has ended: so will all the others.
  private func end() {
    let parked = crew.withLock { crew in
      defer { crew.parked = [] }
      crew.isOver = true
      return crew.parked
    }
    for seat in parked { seat.isCalled.withLock { $0 = true } }
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
    while running.load(ordering: .sequentiallyConsistent) < wanted {
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

  /// Whether the host has refused a thread that is wanted.
  private var isShort: Bool {
    running.load(ordering: .sequentiallyConsistent) < wanted && crew.withLock { $0.hasNext(limit: limit) }
  }

  private func start(_ seat: Seat) -> Bool {
    watch.withLock { $0.threads += 1 }
    let thread = try? HostThread.start(name: "flatcow-serve") {
      BlockingCall.announced {
        let since = seat.since.load(ordering: .sequentiallyConsistent)
        if since > 0 { self.note(seat, waitsSince: since) }
      } during: {
        self.serve(seat)
      }
      self.watch.withLock { $0.threads -= 1 }
    }
    if thread == nil { watch.withLock { $0.threads -= 1 } }
    return thread != nil
  }

  // MARK: Looks

  /// Finds the threads that wait without having said so. Returns whether any is at work.
  private func findWaiting() -> Bool {
    let now = time.add(1, ordering: .relaxed).newValue
    var isBusy = false
    for seat in crew.withLock({ $0.seats }) {
      let since = seat.since.load(ordering: .sequentiallyConsistent)
      if since > 0 { isBusy = true }
      if since > 0 && now - since >= 2 { note(seat, waitsSince: since) }
    }
    return isBusy
  }

  /// Sleeps until a request comes, or the session ends.
  private func rest() {
    isWatched.store(false, ordering: .sequentiallyConsistent)
    if !findWaiting() {
      watch.wait { watch -> Void? in
        guard watch.isCalled || watch.threads == 0 else { return nil }
        watch.isCalled = false
        return ()
      }
    }
    isWatched.store(true, ordering: .sequentiallyConsistent)
  }
}
