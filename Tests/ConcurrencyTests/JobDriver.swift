import BackingChain
import HostStorage
import ImageFormat
import StreamJob
import TestSupport

/// Starts, pauses, cancels a job, changes its base and its speed, asks for completions and withdraws them; and completes.
struct JobDriver {
  private let job: StreamJob
  private let chain: BackingChain
  private var random: SeededRandom

  init(_ job: StreamJob, _ chain: BackingChain, seed: UInt64) {
    (self.job, self.chain) = (job, chain)
    random = SeededRandom(seed: seed &+ 17)
  }

  /// Returns what went wrong.
  mutating func run() -> [String] {
    var complaints: [String] = []
    // At last all is flattened, mostly.
    for goal in ["1.qcow2", "base.raw", random.oneIn(3) ? "base.raw" : ""] {
      for _ in 0..<Int.random(in: 5...25, using: &random) {
        step()
        HostThread.sleep(.microseconds(Int.random(in: 1...12_000, using: &random)))
      }
      if let complaint = complete(goal) { complaints.append("completing with \"\(goal)\": \(complaint)") }
    }
    return complaints
  }

  private mutating func step() {
    let names = [""] + SharedDisk.names.filter(isInChain)
    switch Int.random(in: 0..<10, using: &random) {
    case 0...2: try? job.run()
    case 3: try? job.pause()
    case 4: try? job.cancel()
    case 5: try? job.setBase(named: Array((names.randomElement(using: &random) ?? "").utf8))
    case 6: job.setSpeed(ByteCount([0, 200_000, 5_000_000].randomElement(using: &random) ?? 0))
    case 7:
      let start = Int.random(in: 0..<SharedDisk.sectors, using: &random) * 512
      job.hint(GuestRange(at: GuestOffset(start), count: 512))
    case 8:
      // With a base set any string is recorded: one that leads there.
      let base = job.status.base.map { String($0.split(separator: "/").last ?? "") }
      let line = base ?? names.randomElement(using: &random) ?? ""
      let ticket = job.requestCompletion(Array(line.utf8), blocking: true) { _ in }
      HostThread.sleep(.microseconds(Int.random(in: 1...3000, using: &random)))
      job.withdraw(ticket)
    default: _ = job.status
    }
  }

  private func isInChain(_ name: String) -> Bool {
    chain.snapshot.layers.dropFirst().contains { $0.path == name || $0.path.hasSuffix("/\(name)") }
  }

  /// Completes with this base, if it is still in the chain; nil when that is done.
  private func complete(_ goal: String) -> String? {
    var last: StreamError?
    for _ in 0..<500 {
      try? job.cancel()
      job.setSpeed(0)
      guard goal.isEmpty || isInChain(goal) else { return nil }
      do throws(StreamError) {
        try job.setBase(named: Array(goal.utf8))
        try write(goal)
        return nil
      } catch {
        last = error
        if error.code == .chain { break }
        HostThread.sleep(.milliseconds(2))
      }
    }
    return last.map { "\($0)" }
  }

  private func write(_ line: String) throws(StreamError) {
    let answer = Monitor<Result<Void, StreamError>?>(nil)
    _ = job.requestCompletion(Array(line.utf8), blocking: true) { result in answer.withLock { $0 = result } }
    try answer.wait { $0 }.get()
  }
}
