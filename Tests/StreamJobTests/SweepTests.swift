import HostStorage
import ImageFormat
import Testing

@testable import StreamJob

/// What is handed out, in which order, without threads.
@Suite struct SweepTests {
  private let now = SuspendingClock.now
  private let unlimited = SpeedLimit(0)

  private func range(_ start: Int, _ count: Int) -> GuestRange {
    GuestRange(at: GuestOffset(start), count: ByteCount(count))
  }

  private func measuredSweep(_ size: Int) -> Sweep {
    var sweep = Sweep(size: ByteCount(size))
    sweep.measured(nil)
    return sweep
  }

  @Test func hintsTakeTurnsWithThePass() {
    var sweep = measuredSweep(10 << 20)
    for unit in 0..<4 { sweep.hint(range(unit * 131072 + (8 << 20), 4096)) }
    var order: [String] = []
    for _ in 0..<6 {
      switch sweep.next(limit: unlimited, now: now) {
      case .scan:
        order.append("scan")
        sweep.scanned(finding: range(0, 10 << 20))
      case .populate(_, let hinted): order.append(hinted ? "hint" : "pass")
      default: order.append("nothing")
      }
    }
    #expect(order == ["hint", "scan", "hint", "pass", "hint", "pass"])
  }

  @Test func theSameHintIsTakenOnce() {
    var queue = HintQueue()
    queue.add(range(0, 4096))
    queue.add(range(4096, 4096))
    queue.add(range(61440, 8192))
    #expect(queue.next(atMost: 1_048_576) == range(0, 65536))
    #expect(queue.next(atMost: 65536) == range(0, 65536))
    #expect(queue.next(atMost: 65536) == range(65536, 65536))
    #expect(queue.next(atMost: 65536) == nil)
  }

  @Test func hintsWithoutRoomAreDropped() {
    var queue = HintQueue()
    for unit in 0..<HintQueue.capacity + 10 { queue.add(range(unit * 65536, 1)) }
    var count = 0
    while queue.next(atMost: 65536) != nil { count += 1 }
    #expect(count == HintQueue.capacity)
  }

  @Test func aHintAtTheEndOfTheDiskIsCutThere() {
    var sweep = measuredSweep(65536 + 512)
    sweep.hint(range(65536, 512))
    guard case .populate(let hinted, hinted: true) = sweep.next(limit: unlimited, now: now) else {
      Issue.record("no hint")
      return
    }
    #expect(hinted == range(65536, 512))
  }

  @Test func thePositionIsTheLowestThatIsNotDone() {
    var pass = Pass(size: ByteCount(8 << 20))
    let chunk = JobCore.chunk
    #expect(pass.next(chunk: chunk) == .scan(from: GuestOffset(0)))
    #expect(pass.next(chunk: chunk) == nil)
    pass.scanned(finding: range(0, 8 << 20))
    let first = range(0, 2 << 20)
    let second = range(2 << 20, 2 << 20)
    #expect(pass.next(chunk: chunk) == .populate(first))
    #expect(pass.next(chunk: chunk) == .populate(second))
    pass.ended(second, isLeft: false)
    #expect(pass.position.bytes == 0)
    pass.ended(first, isLeft: true)
    #expect(pass.position.bytes == 0)
    #expect(pass.next(chunk: chunk) == .populate(first))
    pass.ended(first, isLeft: false)
    #expect(pass.position.bytes == 4 << 20)
    #expect(!pass.isComplete)
  }

  @Test func aPassThatFoundSomethingIsFollowedByAnother() {
    var sweep = measuredSweep(65536)
    _ = sweep.next(limit: unlimited, now: now)
    sweep.scanned(finding: range(0, 65536))
    _ = sweep.next(limit: unlimited, now: now)
    sweep.ended(range(0, 65536), hinted: false, isLeft: false)
    var isComplete = sweep.settle()
    #expect(!isComplete)
    _ = sweep.next(limit: unlimited, now: now)
    sweep.scanned(finding: nil)
    isComplete = sweep.settle()
    #expect(isComplete)
    #expect(sweep.done == 65536)
  }

  @Test func withALimitOneChunkIsCopiedAtATime() {
    var sweep = measuredSweep(8 << 20)
    let limit = SpeedLimit(1_000_000)
    _ = sweep.next(limit: limit, now: now)
    sweep.scanned(finding: range(0, 8 << 20))
    guard case .populate(let first, _) = sweep.next(limit: limit, now: now) else {
      Issue.record("nothing to copy")
      return
    }
    #expect(first.count == 65536)
    #expect(sweep.next(limit: limit, now: now).map { _ in true } == nil)
    sweep.ended(first, hinted: false, isLeft: false)
    #expect(sweep.next(limit: limit, now: now).map { _ in true } == true)
  }
}
