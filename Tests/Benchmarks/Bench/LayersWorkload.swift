/// Reads through many layers that each hold some of the data.
struct LayersWorkload: Workload {
  let name = "layers"
  let depth = 128

  private static let oneLayer = Contender("flatcow, one layer")

  func measure(_ bench: Bench) throws -> [Comparison] {
    let layers = Layers.ordinary(depth: depth)
    let disk = try bench.images.original(layers.fixture(withFlat: true))
    let peers = bench.available([.flatcow, .storageDaemon, .networkBlockDevice])
    return [try warm(layers, disk, peers, bench), try cold(layers, disk, peers, bench)]
  }

  private func warm(_ layers: Layers, _ disk: Disk, _ peers: [Peer], _ bench: Bench) throws -> Comparison {
    var comparison = Comparison(
      title: "4 KiB random reads through \(depth) layers, map warm, one at a time", unit: .microseconds,
      goals: [.times(10, .storageDaemon), .times(1 / 1.15, Self.oneLayer)])
    var exports: [(contender: Contender, export: Export)] = []
    defer { for (_, export) in exports { export.abandon() } }
    for peer in peers { exports.append((Contender(peer), try Export(peer, of: disk, in: bench, for: .reading))) }
    let flat = Disk(directory: disk.directory, top: "flat.qcow2")
    exports.append((Self.oneLayer, try Export(.flatcow, of: flat, in: bench, for: .reading)))
    for (_, export) in exports { try layers.touch(layers.clusters, of: export) }
    for (round, order) in bench.turns(of: exports).enumerated() {
      for (contender, export) in order {
        let outcome = try Fio(work: .randomReads, stride: layers.stride).run(on: export.file, seed: round + 1)
        comparison.add(1_000_000 / outcome.operationsPerSecond, of: contender)
      }
    }
    for (_, export) in exports { try export.stop() }
    return comparison
  }

  private func cold(_ layers: Layers, _ disk: Disk, _ peers: [Peer], _ bench: Bench) throws -> Comparison {
    var comparison = Comparison(
      title: "the same, first touch of each of 2,048 clusters after mounting", unit: .microseconds,
      goals: [.times(1, .storageDaemon)])
    for order in bench.turns(of: peers) {
      for peer in order {
        let export = try Export(peer, of: disk, in: bench, for: .reading)
        defer { export.abandon() }
        comparison.add(try layers.touch(2048, of: export), of: Contender(peer))
        try export.stop()
      }
    }
    return comparison
  }
}

extension Layers {
  /// Reads 4 KiB in each of `count` clusters; the mean latency, in µs.
  @discardableResult
  func touch(_ count: Int, of export: Export) throws -> Double {
    let fio = Fio(work: .randomReads, extent: .blocks(at: scattered(count)), isLatencyKept: true)
    return try fio.run(on: export.file).meanMicroseconds
  }
}
