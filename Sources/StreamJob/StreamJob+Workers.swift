import BackingChain
import HostStorage

extension StreamJob {
  /// Makes sure that workers exist; from the first start of a job on they do, until `shutDown`.
  func startWorkers() throws(StreamError) {
    let missing = core.withLock { core in
      let missing = core.isShutDown ? 0 : core.workersWanted - core.workers
      core.workers += missing
      return missing
    }
    for started in 0..<missing {
      do throws(StorageError) {
        try HostThread.start(name: "flatcow-stream") { self.work() }
      } catch {
        let left = core.withLock { core in
          core.workers -= missing - started
          return core.workers
        }
        // One is enough to go on with.
        if left == 0 { throw StreamError(ChainError(error)) }
        return
      }
    }
  }

  private func work() {
    var wakeUp: SuspendingClock.Instant?
    while true {
      let turn = core.wait(deadline: wakeUp ?? .now + .seconds(3600)) { core in
        core.turn(sleepingUntil: wakeUp, now: .now)
      }
      switch turn {
      case nil: continue
      case .sleep(let until): wakeUp = until
      case .work(let task):
        let outcome = task.perform(on: target)
        update { $0.ended(task, with: outcome, now: .now) }
      case .end: return core.withLock { $0.workers -= 1 }
      }
    }
  }

  /// Ends the job for good: whoever waits is answered with `.shutDown`, unless the header is being written; that is
  /// left to its end. Returns whether all workers came home within `patience`; where not, one hangs in the target, which must
  /// not be closed then.
  package func shutDown(patience: Duration) -> Bool {
    update { $0.shutDown() }
    return core.wait(deadline: .now + patience) { $0.workers == 0 ? true : nil } ?? false
  }
}
