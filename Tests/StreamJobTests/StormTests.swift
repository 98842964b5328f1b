import HostStorage
import ImageFormat
import StreamJob
import TestSupport
import Testing

/// Everything at once, in an order that only the seed knows.
@Suite(.timeLimit(.minutes(2))) struct StormTests {
  @Test(arguments: 0..<20) func aStormOfRequestsEndsInAConsistentState(number: Int) {
    let seed = UInt64.random(in: 0..<UInt64.max)
    let target = FakeTarget(units: 3000)
    // The space is looked at once a second only: most storms are not to wait for it.
    let minimum = MinimumFree.bytes(number < 2 ? 10 : 0)
    let running = RunningJob(target, StreamOptions(start: .on, onError: .stop, minimumFree: minimum))
    let requests = Monitor<[Request]>([])
    let threads = (0..<3).compactMap { number in
      try? HostThread.start(name: "storm") {
        var random = SeededRandom(seed: seed &+ UInt64(number))
        for _ in 0..<100 {
          step(Int.random(in: 0..<13, using: &random), running, requests, &random)
        }
      }
    }
    for thread in threads { thread.join() }
    for request in requests.read({ $0 }) { running.job.withdraw(request.ticket) }
    // However it ended, what is asked for now is done.
    try? running.job.cancel()
    target.disk.withLock {
      $0.failures = [:]
      $0.free = FakeTarget.total
    }
    running.job.setSpeed(0)
    while running.write("").code == .busy { try? running.job.cancel() }
    #expect(running.status.state == .completed, "seed \(seed)")
    for request in requests.read({ $0 }) { _ = request.outcome }
    #expect(target.disk.read { $0.violations } == [], "seed \(seed)")
    #expect(running.job.shutDown(patience: .seconds(10)), "seed \(seed)")
  }

  private func step(
    _ kind: Int, _ running: RunningJob<FakeTarget>, _ requests: Monitor<[Request]>, _ random: inout SeededRandom
  ) {
    let (job, target) = (running.job, running.target)
    switch kind {
    case 0, 1: try? job.run()
    case 2: try? job.pause()
    case 3: try? job.cancel()
    case 4: try? job.setBase(named: Array(random.pick(["", "/images/0", "/images/1"]).utf8))
    case 5, 6:
      let request = running.request(Bool.random(using: &random) ? "" : "/images/1", blocking: kind == 5)
      requests.withLock { $0.append(request) }
    case 7:
      let withdrawn = requests.read { $0 }.randomElement(using: &random)
      if let withdrawn { job.withdraw(withdrawn.ticket) }
    case 8: job.setSpeed(random.pick([0, 1, 10_000_000]))
    case 9: job.hint(GuestRange(at: GuestOffset(Int.random(in: 0..<3000, using: &random) * 65536), count: 4096))
    case 10:
      let gate = random.pick([FakeTarget.Gate.measuring, .scanning, .populating, .planning, .preparing])
      target.disk.withLock { $0.failures[gate] = [.unreadable] }
    case 11: target.disk.withLock { $0.free = random.pick([0, FakeTarget.total]) }
    default: _ = job.status
    }
  }
}

extension SeededRandom {
  fileprivate mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: elements.indices, using: &self)]
  }
}
