import HostStorage
import Testing

@Suite(.timeLimit(.minutes(1))) struct LockTests {
  private final class Shared: Sendable {
    let lock = Lock(0)
  }

  @Test func noStepOfAnyThreadIsLost() throws {
    let shared = Shared()
    let steps = 50_000
    let threads = try (0..<4).map { number in
      try HostThread.start(name: "lock \(number)") {
        for _ in 0..<steps {
          shared.lock.withLock { value in
            let before = value
            value = before + 1
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(shared.lock.withLock { $0 } == 4 * steps)
  }

  @Test func threadsThatSleptForItAllGetIt() throws {
    let shared = Shared()
    let isHeld = Monitor(false)
    let holder = try HostThread.start(name: "holder") {
      shared.lock.withLock { value in
        isHeld.withLock { $0 = true }
        HostThread.sleep(.milliseconds(50))
        value = 100
      }
    }
    isHeld.wait { $0 ? () : nil }
    let sleepers = try (0..<3).map { number in
      try HostThread.start(name: "sleeper \(number)") { shared.lock.withLock { $0 += $0 >= 100 ? 1 : 1000 } }
    }
    for thread in sleepers + [holder] { thread.join() }
    #expect(shared.lock.withLock { $0 } == 103)
  }

  @Test func anErrorLeavesTheLockOpen() {
    struct Refused: Error {}
    let shared = Shared()
    #expect(throws: Refused.self) { try shared.lock.withLock { _ throws(Refused) in throw Refused() } }
    #expect(shared.lock.withLock { $0 } == 0)
  }
}
