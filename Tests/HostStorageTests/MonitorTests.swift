import HostStorage
import Testing

@Suite(.timeLimit(.minutes(1))) struct MonitorTests {
  @Test func aWaiterSeesWhatAnotherThreadDid() throws {
    let monitor = Monitor<[Int]>([])
    let thread = try HostThread.start(name: "producer") {
      for number in 0..<1000 { monitor.withLock { $0.append(number) } }
    }
    let received = monitor.wait { $0.count == 1000 ? $0 : nil }
    #expect(received == Array(0..<1000))
    thread.join()
  }

  @Test func threadsTakeTurnsWithoutALostWakeUp() throws {
    let turn = Monitor(0)
    let rounds = 2000
    let threads = try (0..<4).map { place in
      try HostThread.start(name: "turn \(place)") {
        for _ in 0..<rounds {
          turn.wait { state in
            guard state % 4 == place else { return nil as Void? }
            state += 1
            return ()
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(turn.read { $0 } == 4 * rounds)
  }

  @Test func aPassedDeadlineGivesNilAndStillLooksOnce() {
    let monitor = Monitor(7)
    #expect(monitor.wait(deadline: .now - .seconds(1)) { $0 == 8 ? $0 : nil } == nil)
    #expect(monitor.wait(deadline: .now - .seconds(1)) { $0 == 7 ? $0 : nil } == 7)
    #expect(monitor.wait(deadline: .now + .milliseconds(5)) { $0 == 8 ? $0 : nil } == nil)
  }

  @Test func anErrorLeavesTheLockOpen() {
    struct Refused: Error {}
    let monitor = Monitor(1)
    #expect(throws: Refused.self) {
      try monitor.withLock { state throws(Refused) in
        state = 2
        throw Refused()
      }
    }
    #expect(monitor.read { $0 } == 2)
  }
}

@Suite(.timeLimit(.minutes(1))) struct HostThreadTests {
  @Test func manyMayJoinOneThread() throws {
    let gate = Monitor(false)
    let thread = try HostThread.start(name: "a name longer than fifteen bytes") { gate.wait { $0 ? () : nil } }
    let joiners = try (0..<3).map { _ in try HostThread.start(name: "joiner") { thread.join() } }
    gate.withLock { $0 = true }
    for joiner in joiners { joiner.join() }
    thread.join()
  }

  @Test func whatTheBodyHoldsIsReleasedWithoutAJoin() throws {
    final class Held: Sendable {
      let released: Monitor<Bool>
      init(_ released: Monitor<Bool>) { self.released = released }
      deinit { released.withLock { $0 = true } }
    }
    let released = Monitor(false)
    let held = Held(released)
    try HostThread.start(name: "holder") { [held] in _ = held.released.read { $0 } }
    _ = consume held
    released.wait { $0 ? () : nil }
  }
}
