import Foundation

/// What a guest notices of a job that runs as fast as it can.
struct GuestWorkload: Workload {
  let name = "guest"

  /// Large enough that no job is done with it while a guest is measured.
  private static let fixture = Fixture.overlay(
    "large", of: "head -c 1G /dev/urandom >part; cat part part part part part part >disk.raw; rm part")

  private struct Findings {
    var ratio = Comparison(
      title: "guest's p99 read latency while the job runs, over that without", unit: .times,
      goals: [.bound(2), .times(1, .storageDaemon)])
    var latency = Comparison(title: "the same: p99 while the job runs", unit: .microseconds)
    var rate = Comparison(title: "the same: what the job keeps of its rate", unit: .percent, goals: [.bound(50)])
    var undisturbed = Comparison(title: "the same: the job's rate without a guest", unit: .mebibytesPerSecond)
  }

  func measure(_ bench: Bench) throws -> [Comparison] {
    var findings = Findings()
    let peers = bench.available([.flatcow, .storageDaemon])
    for order in bench.turns(of: peers) {
      for peer in order { try measure(peer, bench, &findings) }
    }
    return [findings.ratio, findings.latency, findings.rate, findings.undisturbed]
  }

  private func measure(_ peer: Peer, _ bench: Bench, _ findings: inout Findings) throws {
    let guest = Fio(work: .randomReads, extent: .seconds(1), isLatencyKept: true)
    let before = try withJob(of: peer, bench) { job in try guest.run(on: job.export.file).p99Microseconds }
    var during = 0.0
    let beside = try withJob(of: peer, bench) { job in
      try rate(of: job) { during = try guest.run(on: job.export.file).p99Microseconds }
    }
    // For as long: a disk may slow down after a while.
    let alone = try withJob(of: peer, bench) { job in
      try rate(of: job) { Thread.sleep(forTimeInterval: beside.seconds) }
    }
    let contender = Contender(peer)
    findings.ratio.add(during / before, of: contender)
    findings.latency.add(during, of: contender)
    findings.rate.add(beside.rate / alone.rate * 100, of: contender)
    findings.undisturbed.add(alone.rate, of: contender)
  }

  private func withJob<Result>(of peer: Peer, _ bench: Bench, _ body: (Job) throws -> Result) throws -> Result {
    let disk = try bench.images.copy(Self.fixture, for: peer)
    let export = try Export(peer, of: disk, in: bench, for: .jobAndReading)
    // The job need not come to its end.
    defer { export.abandon() }
    return try body(Job(export: export, disk: disk))
  }

  /// MiB a second while `body` runs, and how long it runs.
  private func rate(of job: Job, while body: () throws -> Void) throws -> (rate: Double, seconds: Double) {
    try job.start()
    var first = 0.0
    let time = try seconds {
      first = try job.progress() ?? 0
      try body()
    }
    guard let last = try job.progress() else {
      throw BenchError("the job of \(job.export.peer.rawValue) was done before the guest")
    }
    return ((last - first) / 1_048_576 / time, time)
  }
}
