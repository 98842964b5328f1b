import Foundation

/// How costs grow with the work: what `make bench-plots` draws.
struct PlotMeasurements {
  let bench: Bench

  /// The name of each file, and what is in it.
  func all() throws -> [(file: String, plot: Plot)] {
    let (latency, mounting) = try overDepth()
    return [
      ("latency-over-depth", latency), ("mount-over-depth", mounting), ("memory-over-size", try overSize()),
      ("throughput-over-threads", try overThreads()),
    ]
  }

  private var programs: [Peer] { bench.available([.flatcow, .storageDaemon]) }

  private func overDepth() throws -> (latency: Plot, mounting: Plot) {
    var latency = Plot(title: "4 KiB random reads, one at a time", abscissa: "layers", ordinate: "µs")
    var mounting = Plot(title: "Mount to first byte", abscissa: "layers", ordinate: "ms")
    for depth in (0...8).map({ 1 << $0 }) {
      bench.say("Measuring a chain of \(depth)")
      let layers = Layers(depth: depth, virtualSize: 1 << 30, clusters: 4096)
      let disk = try bench.images.original(layers.fixture())
      var findings: [Peer: (latency: Samples, mounting: Samples)] = [:]
      for order in bench.turns(of: programs) {
        for peer in order {
          let export = try Export(peer, of: disk, in: bench, for: .reading)
          defer { export.abandon() }
          try layers.touch(layers.clusters, of: export)
          let outcome = try Fio(work: .randomReads, stride: layers.stride, extent: .seconds(1)).run(on: export.file)
          findings[peer, default: (Samples(), Samples())].latency.values.append(1_000_000 / outcome.operationsPerSecond)
          findings[peer, default: (Samples(), Samples())].mounting.values.append(export.secondsToFirstByte * 1000)
          try export.stop()
        }
      }
      for case let (peer, found?) in programs.map({ ($0, findings[$0]) }) {
        latency.add(found.latency.median, at: Double(depth), to: peer.rawValue)
        mounting.add(found.mounting.median, at: Double(depth), to: peer.rawValue)
      }
    }
    return (latency, mounting)
  }

  private func overSize() throws -> Plot {
    let title = "Peak memory after 4,096 scattered writes and reads"
    var plot = Plot(title: title, abscissa: "virtual size", ordinate: "MiB") { size in
      size < 1024 ? "\(Int(size)) GiB" : "\(Int(size) / 1024) TiB"
    }
    for gibibytes in (0...14).map({ 1 << $0 }) {
      bench.say("Measuring a disk of \(gibibytes) GiB")
      let fixture = Fixture(name: "size-\(gibibytes)") { disk in
        try Program.shell(
          """
          cd "$1"
          qemu-img create -q -f qcow2 base.qcow2 "$2"G
          qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
          """, disk.directory.path, "\(gibibytes)")
      }
      // The same places, first written, then read.
      let places = (0..<4096).map { ($0 * 1031 % 4096) * (gibibytes << 18) }
      let disks = try bench.images.copies(fixture, for: programs)
      for case let (peer, disk?) in programs.map({ ($0, disks[$0]) }) {
        do {
          plot.add(try memory(of: peer, disk, using: places), at: Double(gibibytes), to: peer.rawValue)
        } catch {
          bench.note("\(peer.rawValue) at \(gibibytes) GiB: \(error)")
        }
      }
    }
    return plot
  }

  private func memory(of peer: Peer, _ disk: Disk, using places: [Int]) throws -> Double {
    let export = try Export(peer, of: disk, in: bench)
    defer { export.abandon() }
    for work in [Fio.Work.randomWrites, .randomReads] {
      _ = try Fio(work: work, extent: .blocks(at: places)).run(on: export.file)
    }
    let peak = try export.peakMemory()
    try export.stop()
    return peak
  }

  private func overThreads() throws -> Plot {
    var plot = Plot(title: "4 KiB random reads", abscissa: "threads", ordinate: "a second")
    let peers = bench.available([.flatcow, .storageDaemon, .bareServer])
    let disks = try bench.images.copies(.populated, for: peers)
    var exports: [Export] = []
    defer { for export in exports { export.abandon() } }
    for case let (peer, disk?) in peers.map({ ($0, disks[$0]) }) {
      exports.append(try Export(peer, of: disk, in: bench))
    }
    for threads in (0...6).map({ 1 << $0 }) {
      bench.say("Measuring \(threads) threads")
      var findings: [Peer: Samples] = [:]
      for order in bench.turns(of: exports) {
        for export in order {
          let fio = Fio(work: .randomReads, extent: .seconds(1), threads: threads)
          findings[export.peer, default: Samples()].values.append(try fio.run(on: export.file).operationsPerSecond)
        }
      }
      for case let (peer, samples?) in peers.map({ ($0, findings[$0]) }) {
        plot.add(samples.median, at: Double(threads), to: peer.rawValue)
      }
    }
    for export in exports { try export.stop() }
    return plot
  }
}
