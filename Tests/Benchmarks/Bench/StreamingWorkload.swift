import Foundation

/// Populating an empty overlay, from the job's start until all is durable.
struct StreamingWorkload: Workload {
  let name: String
  let title: String
  let fixture: Fixture
  let goals: [Goal]
  /// The file system that is made for it; nil: the host's.
  var fileSystem: LoopFileSystem?
  /// The clusters that the active layer may have in the end, where that is a question.
  var clusterGoal: Double?

  private static let copy = Contender("cp + fsync")
  /// Seconds; whoever takes longer is measured twice only.
  private static let patience = 30.0

  static let all: [any Workload] = [
    StreamingWorkload(
      name: "stream-raw", title: "streaming 1 GiB of raw base", fixture: .empty,
      goals: [.times(2.8, .storageDaemon), .times(0.9, copy)]),
    StreamingWorkload(
      name: "stream-xfs", title: "the same within XFS", fixture: .empty, goals: [.times(20, .storageDaemon)],
      fileSystem: .xfs),
    StreamingWorkload(
      name: "stream-btrfs", title: "the same within btrfs", fixture: .empty, goals: [.times(20, .storageDaemon)],
      fileSystem: .btrfs),
    StreamingWorkload(
      name: "stream-sparse", title: "streaming 1 GiB in islands of 64 KiB over 64 GiB of raw base", fixture: .islands,
      goals: [.times(5, .storageDaemon)], clusterGoal: 16_384),
    StreamingWorkload(
      name: "stream-zstd", title: "streaming 1 GiB of qcow2 base, compressed by zstd", fixture: .compressed("zstd"),
      goals: [.times(1.5, .storageDaemon)]),
    StreamingWorkload(
      name: "stream-zlib", title: "streaming 1 GiB of qcow2 base, compressed by zlib", fixture: .compressed("zlib"),
      goals: [.times(1.5, .storageDaemon)]),
  ]

  func measure(_ bench: Bench) throws -> [Comparison] {
    guard let fileSystem else { return try measure(bench, in: bench.images) }
    try bench.images.clear()
    do {
      return try fileSystem.mounted(bench) { try measure(bench, in: ImageStore($0)) }
    } catch let error as LoopFileSystem.Impossible {
      bench.note("Without \(name): \(error.reason)")
      return []
    }
  }

  private func measure(_ bench: Bench, in images: ImageStore) throws -> [Comparison] {
    var time = Comparison(title: title, unit: .seconds, goals: goals)
    var clusters = Comparison(
      title: "\(title): allocated", unit: .clusters, goals: clusterGoal.map { [.bound($0)] } ?? [])
    let peers = bench.available([.flatcow, .storageDaemon])
    for order in bench.turns(of: peers + [nil]) {
      for peer in order {
        guard let peer else {
          try timeCopy(in: images).map { time.add($0, of: Self.copy) }
          continue
        }
        if let known = time[Contender(peer)], known.values.count > 1, known.least > Self.patience { continue }
        let disk = try images.copy(fixture, for: peer)
        time.add(try timeJob(of: peer, disk, bench), of: Contender(peer))
        if clusterGoal != nil { clusters.add(try allocatedClusters(disk), of: Contender(peer)) }
      }
    }
    return [time] + (clusterGoal == nil ? [] : [clusters])
  }

  private func timeJob(of peer: Peer, _ disk: Disk, _ bench: Bench) throws -> Double {
    let export = try Export(peer, of: disk, in: bench, for: .jobAlone)
    defer { export.abandon() }
    let job = Job(export: export, disk: disk)
    let time = try seconds { try job.runToTheEnd() }
    try export.stop()
    let info = try Program.run("qemu-img", "info", "--output=json", disk.path(disk.top))
    if info.contains("backing-filename") { throw BenchError("\(peer.rawValue) has not streamed to the end") }
    return time
  }

  /// nil where there is no raw base.
  private func timeCopy(in images: ImageStore) throws -> Double? {
    let disk = try images.original(fixture)
    guard FileManager.default.fileExists(atPath: disk.path(disk.raw)) else { return nil }
    try images.settle()
    let copy = disk.path("for-copy")
    defer { try? FileManager.default.removeItem(atPath: copy) }
    return try seconds { try Program.shell(#"cp --reflink=never "$1" "$2"; sync "$2""#, disk.path(disk.raw), copy) }
  }

  private func allocatedClusters(_ disk: Disk) throws -> Double {
    let check = try Program.run("qemu-img", "check", "--output=json", disk.path(disk.top))
    return check.firstMatch(of: /"allocated-clusters": (\d+)/).flatMap { Double($0.1) } ?? .nan
  }
}
