/// Reads and writes that can go on for ever, on a disk whose active layer holds all of it.
struct SteadyWorkload: Workload {
  let name: String
  let title: String
  let unit: Unit
  let fio: Fio
  let peers: [Peer]
  let goals: [Goal]

  static let everybody = Peer.allCases

  static let all = [
    SteadyWorkload(
      name: "read-4k", title: "4 KiB random reads, O_DIRECT, one at a time", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads), peers: everybody,
      goals: [.times(1.8, .storageDaemon), .times(0.9, .bareServer)]),
    SteadyWorkload(
      name: "read-4k-deep", title: "4 KiB random reads, O_DIRECT, 32 at a time", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads, depth: 32), peers: everybody,
      goals: [.times(3.5, .storageDaemon), .times(0.85, .bareServer)]),
    SteadyWorkload(
      name: "read-1m", title: "1 MiB sequential reads, O_DIRECT, 4 at a time", unit: .mebibytesPerSecond,
      fio: Fio(work: .sequentialReads, block: "1M", depth: 4), peers: everybody,
      goals: [.times(2.5, .storageDaemon), .times(0.85, .bareServer)]),
    SteadyWorkload(
      name: "reread", title: "4 KiB random re-reads through the page cache", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads, isDirect: false), peers: everybody,
      goals: [.times(25, .storageDaemon), .times(0.95, .plainFile)]),
    SteadyWorkload(
      name: "write-4k", title: "4 KiB random writes to allocated clusters, O_DIRECT, 32 at a time",
      unit: .operationsPerSecond, fio: Fio(work: .randomWrites, depth: 32), peers: everybody,
      goals: [.times(3, .storageDaemon), .times(0.8, .bareServer)]),
  ]

  func measure(_ bench: Bench) throws -> [Comparison] {
    var comparison = Comparison(title: title, unit: unit, goals: goals)
    let peers = bench.available(peers)
    let disks = try bench.images.copies(.populated, for: peers, fresh: false)
    var exports: [Export] = []
    defer { for export in exports { export.abandon() } }
    for peer in peers {
      guard let disk = disks[peer] else { continue }
      exports.append(try Export(peer, of: disk, in: bench))
    }
    // Into the mount's own page cache, where there is one.
    if !fio.isDirect {
      for export in exports { try Program.shell(#"cat "$1" >/dev/null"#, export.file) }
    }
    try bench.alternate(exports) { export, round in
      var fio = fio
      // What the servers do to the file, the plain file is asked for itself.
      if export.peer == .plainFile { fio.isDirect = false }
      let outcome = try fio.run(on: export.file, seed: round + 1)
      let figure = unit == .mebibytesPerSecond ? outcome.mebibytesPerSecond : outcome.operationsPerSecond
      comparison.add(figure, of: Contender(export.peer))
    }
    for export in exports { try export.stop() }
    return [comparison]
  }
}
