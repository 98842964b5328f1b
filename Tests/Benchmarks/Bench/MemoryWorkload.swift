import Foundation

/// The most memory that a process takes while it streams a large disk with many layers.
struct MemoryWorkload: Workload {
  let name = "memory"

  /// How long a job is watched that takes longer.
  private static let patience = 10.0

  func measure(_ bench: Bench) throws -> [Comparison] {
    var comparison = Comparison(
      title: "peak memory for 1 TiB with 128 layers while streaming", unit: .mebibytes,
      goals: [.bound(64), .times(1, .storageDaemon)])
    let peers = bench.available([.flatcow, .storageDaemon])
    let fixture = Layers(depth: 128, virtualSize: 1 << 40, clusters: 8192).fixture()
    for order in bench.turns(of: peers) {
      for peer in order {
        let disk = try bench.images.copy(fixture, for: peer)
        let export = try Export(peer, of: disk, in: bench, for: .jobAndReading)
        defer { export.abandon() }
        let job = Job(export: export, disk: disk)
        try job.start()
        let end = ContinuousClock.now + .seconds(Self.patience)
        while ContinuousClock.now < end, try job.progress() != nil { Thread.sleep(forTimeInterval: 0.1) }
        comparison.add(try export.peakMemory(), of: Contender(peer))
      }
    }
    return [comparison]
  }
}
