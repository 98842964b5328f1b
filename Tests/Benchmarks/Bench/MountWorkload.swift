/// From starting the program to the first byte.
struct MountWorkload: Workload {
  let name = "mount"
  let depth = 128

  func measure(_ bench: Bench) throws -> [Comparison] {
    var comparison = Comparison(
      title: "mount to first byte, \(depth) layers", unit: .milliseconds, goals: [.times(1, .storageDaemon)])
    let disk = try bench.images.original(Layers.ordinary(depth: depth).fixture(withFlat: true))
    for order in bench.turns(of: bench.available([.flatcow, .storageDaemon])) {
      for peer in order {
        let export = try Export(peer, of: disk, in: bench, for: .reading)
        defer { export.abandon() }
        comparison.add(export.secondsToFirstByte * 1000, of: Contender(peer))
        try export.stop()
      }
    }
    return [comparison]
  }
}
