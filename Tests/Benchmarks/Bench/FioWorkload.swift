import Foundation
import Glibc

/// Reads and writes by fio, on a disk that everybody has a copy of.
struct FioWorkload: Workload {
  let name: String
  let title: String
  let unit: Unit
  let fio: Fio
  let peers: [Peer]
  let goals: [Goal]
  var fixture = Fixture.populated
  /// Whether the work can be done once only, since it allocates.
  var isFresh = false
  /// Whether the server's syncs are counted, too.
  var areSyncsCounted = false

  func measure(_ bench: Bench) throws -> [Comparison] {
    var comparison = Comparison(title: title, unit: unit, goals: goals)
    let peers = bench.available(peers)
    let disks = isFresh ? [:] : try bench.images.copies(fixture, for: peers, fresh: false)
    var exports: [Peer: Export] = [:]
    defer { for export in exports.values { export.abandon() } }
    for (peer, disk) in disks { exports[peer] = try Export(peer, of: disk, in: bench) }
    // Into the mount's own page cache, where there is one.
    if !fio.isDirect {
      for export in exports.values { try Program.shell(#"cat "$1" >/dev/null"#, export.file) }
    }
    for (round, order) in bench.turns(of: peers).enumerated() {
      for peer in order {
        if !isFresh, !fio.work.isReading { try bench.images.settle() }
        let export = try exports[peer] ?? Export(peer, of: bench.images.copy(fixture, for: peer), in: bench)
        defer { if isFresh { export.abandon() } }
        let outcome = try run(fio, on: export, round: round)
        comparison.add(
          unit == .mebibytesPerSecond ? outcome.mebibytesPerSecond : outcome.operationsPerSecond, of: Contender(peer))
        if isFresh { try export.stop() }
      }
    }
    for export in exports.values { try export.stop() }
    return [comparison] + (areSyncsCounted ? [try countSyncs(bench)] : [])
  }

  private func run(_ fio: Fio, on export: Export, round: Int) throws -> Fio.Outcome {
    var fio = fio
    // What the servers do to the file, the plain file is asked for itself.
    if export.peer == .plainFile { fio.isDirect = false }
    return try fio.run(on: export.file, seed: round + 1)
  }

  private func countSyncs(_ bench: Bench) throws -> Comparison {
    var comparison = Comparison(title: "\(title): syncs", unit: .perWrite, goals: [.times(1, .storageDaemon)])
    let peers = bench.available([.flatcow, .storageDaemon, .networkBlockDevice])
    for peer in peers {
      let disk = try bench.images.copy(fixture, for: peer)
      let export = try Export(peer, of: disk, in: bench)
      defer { export.abandon() }
      guard let server = export.server else { continue }
      let report = disk.path("syncs")
      let tracer = try ChildProcess(
        ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", report, "-p", "\(server.id)"], output: bench.log,
        errors: bench.log)
      let undo = bench.cleanup.add { [id = tracer.id] in kill(id, SIGKILL) }
      defer { bench.cleanup.remove(undo) }
      try awaitTracer(of: server, tracer)
      let outcome = try fio.run(on: export.file)
      tracer.send(SIGINT)
      tracer.wait()
      let lines = try String(contentsOfFile: report, encoding: .utf8).split(separator: "\n")
      let counts = lines.filter { $0.hasSuffix("sync") }.compactMap { Double($0.split(separator: " ")[3]) }
      // Opening and closing bring some few of their own.
      let share = (counts.reduce(0, +) / outcome.operations * 100).rounded() / 100
      comparison.add(share, of: Contender(peer))
      try export.stop()
    }
    return comparison
  }

  private func awaitTracer(of server: ChildProcess, _ tracer: ChildProcess) throws {
    let status = "/proc/\(server.id)/task"
    func isTraced(_ thread: String) -> Bool {
      (try? String(contentsOfFile: "\(status)/\(thread)/status", encoding: .utf8))?.contains("TracerPid:\t0") == false
    }
    while !(try FileManager.default.contentsOfDirectory(atPath: status).allSatisfy(isTraced)) {
      if tracer.exitCode != nil { throw BenchError("strace cannot look into \(server.id)") }
      usleep(10_000)
    }
  }
}
