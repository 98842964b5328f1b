import HostStorage
import ImageFormat
import Synchronization
import TestSupport
import Testing

@Suite struct RequestTrackerTests {
  let tracker = RequestTracker()

  @Test func withNoRequestItIsDrained() {
    var ticket = RequestTracker.Ticket()
    #expect(tracker.hasDrained(&ticket))
  }

  @Test func anOlderRequestHoldsItUp() {
    let request = tracker.begin()
    var ticket = RequestTracker.Ticket()
    for _ in 0..<5 { #expect(!tracker.hasDrained(&ticket)) }
    tracker.end(request)
    #expect(tracker.hasDrained(&ticket))
  }

  @Test func requestsThatOverlapForEverDoNotHoldItUp() {
    var running = tracker.begin()
    var ticket = RequestTracker.Ticket()
    var looks = 0
    while !tracker.hasDrained(&ticket), looks < 10 {
      looks += 1
      let next = tracker.begin()
      tracker.end(running)
      running = next
    }
    #expect(looks < 10)
    tracker.end(running)
  }

  @Test func severalTicketsDoNotDisturbOneAnother() {
    let first = tracker.begin()
    var older = RequestTracker.Ticket()
    #expect(!tracker.hasDrained(&older))
    let second = tracker.begin()
    var newer = RequestTracker.Ticket()
    #expect(!tracker.hasDrained(&newer))
    tracker.end(first)
    #expect(tracker.hasDrained(&older))
    #expect(!tracker.hasDrained(&newer))
    tracker.end(second)
    #expect(tracker.hasDrained(&newer))
  }

  /// Each request outlives several looks, there is always another one running, and every look brings a new ticket.
  @Test func newTicketsStarveNoOlderOne() {
    var running = (0..<3).map { _ in tracker.begin() }
    var oldest = RequestTracker.Ticket()
    var newer: [RequestTracker.Ticket] = []
    var looks = 0
    while !tracker.hasDrained(&oldest), looks < 100 {
      looks += 1
      newer.append(RequestTracker.Ticket())
      for index in newer.indices { _ = tracker.hasDrained(&newer[index]) }
      running.append(tracker.begin())
      tracker.end(running.removeFirst())
    }
    #expect(looks < 100)
  }

  /// Readers look a cell up and use it; the writer replaces cells and poisons an old one once it has drained. A reader
  /// that finds poison in what it looked up was not waited for.
  @Test(.timeLimit(.minutes(1))) func noReaderSeesWhatWasReused() throws {
    let shared = SharedCell()
    let tracker = tracker
    let readers = try (0..<3).map { place in
      try HostThread.start(name: "reader \(place)") {
        var random = SeededRandom(seed: UInt64(place))
        while !shared.stop.load(ordering: .relaxed) {
          let request = tracker.begin()
          let cell = shared.current.withLock { $0 }
          for _ in 0..<Int.random(in: 0..<50, using: &random) where cell.isReused.load(ordering: .relaxed) {
            shared.faults.add(1, ordering: .relaxed)
          }
          tracker.end(request)
          shared.reads.add(1, ordering: .relaxed)
        }
      }
    }
    var replaced = 0
    while replaced < 300 || shared.reads.load(ordering: .relaxed) < 300 {
      let old = shared.current.withLock { cell in
        let old = cell
        cell = SharedCell.Cell()
        return old
      }
      var ticket = RequestTracker.Ticket()
      while !tracker.hasDrained(&ticket) { HostThread.sleep(.microseconds(10)) }
      old.isReused.store(true, ordering: .relaxed)
      replaced += 1
    }
    shared.stop.store(true, ordering: .relaxed)
    for reader in readers { reader.join() }
    #expect(shared.faults.load(ordering: .relaxed) == 0)
  }

  private final class SharedCell: Sendable {
    final class Cell: Sendable { let isReused = Atomic(false) }
    let current = Mutex(Cell())
    let stop = Atomic(false)
    let reads = Atomic(0)
    let faults = Atomic(0)
  }
}
