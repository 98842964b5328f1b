extension FioWorkload {
  private static let everybody = Peer.allCases
  private static let withImages: [Peer] = [.flatcow, .storageDaemon, .networkBlockDevice, .copyOnWrite]

  /// On a disk whose active layer holds all of it.
  static let populated = [
    FioWorkload(
      name: "read-4k", title: "4 KiB random reads, O_DIRECT, one at a time", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads), peers: everybody,
      goals: [.times(1.8, .storageDaemon), .times(0.9, .bareServer)]),
    FioWorkload(
      name: "read-4k-deep", title: "4 KiB random reads, O_DIRECT, 32 at a time", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads, depth: 32), peers: everybody,
      goals: [.times(3.5, .storageDaemon), .times(0.85, .bareServer)]),
    FioWorkload(
      name: "read-1m", title: "1 MiB sequential reads, O_DIRECT, 4 at a time", unit: .mebibytesPerSecond,
      fio: Fio(work: .sequentialReads, block: "1M", depth: 4), peers: everybody,
      goals: [.times(2.5, .storageDaemon), .times(0.85, .bareServer)]),
    FioWorkload(
      name: "reread", title: "4 KiB random re-reads through the page cache", unit: .operationsPerSecond,
      fio: Fio(work: .randomReads, isDirect: false), peers: everybody,
      goals: [.times(25, .storageDaemon), .times(0.95, .plainFile)]),
    FioWorkload(
      name: "write-4k", title: "4 KiB random writes to allocated clusters, O_DIRECT, 32 at a time",
      unit: .operationsPerSecond, fio: Fio(work: .randomWrites, depth: 32), peers: everybody,
      goals: [.times(3, .storageDaemon), .times(0.8, .bareServer)]),
    FioWorkload(
      name: "sync-4k", title: "4 KiB write + fsync, allocated", unit: .operationsPerSecond,
      fio: Fio(work: .randomWrites, options: ["--fsync=1"]), peers: everybody, goals: [.times(1.2, .storageDaemon)],
      areSyncsCounted: true),
    FioWorkload(
      name: "buffered-sequential", title: "buffered sequential writes, 512 MiB and fsync", unit: .mebibytesPerSecond,
      fio: Fio(
        work: .sequentialWrites, block: "64k", extent: .bytes(512 << 20), isDirect: false, options: ["--end_fsync=1"]),
      peers: everybody, goals: [.times(2, .storageDaemon)]),
    FioWorkload(
      name: "buffered-random", title: "buffered 4 KiB random writes, 128 MiB and fsync", unit: .mebibytesPerSecond,
      fio: Fio(work: .randomWrites, extent: .bytes(128 << 20), isDirect: false, options: ["--end_fsync=1"]),
      peers: everybody, goals: [.times(2, .storageDaemon)]),
  ]

  /// The first offsets of 64 KiB clusters of a disk of 1 GiB, in an order without order.
  private static func scattered(_ count: Int) -> [Int] {
    // 10,007 and the number of clusters have no factor in common.
    (0..<count).map { $0 * 10_007 % 16_384 << 16 }
  }

  /// On an empty overlay.
  static let allocating = [
    FioWorkload(
      name: "allocate-4k",
      title: "16,384 random writes of 4 KiB, each to another cluster over a backing file, and fsync",
      unit: .operationsPerSecond,
      fio: Fio(work: .randomWrites, depth: 32, extent: .blocks(at: scattered(16_384)), options: ["--end_fsync=1"]),
      peers: withImages, goals: [.times(2, .storageDaemon)], fixture: .empty, isFresh: true),
    FioWorkload(
      name: "allocate-1m", title: "1 MiB sequential writes that allocate, 1 GiB and fsync", unit: .mebibytesPerSecond,
      fio: Fio(
        work: .sequentialWrites, block: "1M", depth: 4, extent: .bytes(1 << 30), options: ["--end_fsync=1"]),
      peers: everybody, goals: [.times(2, .storageDaemon)], fixture: .empty, isFresh: true),
    FioWorkload(
      name: "allocate-sync", title: "4 KiB write + fsync, each to another cluster", unit: .operationsPerSecond,
      fio: Fio(work: .randomWrites, extent: .blocks(at: scattered(2000), isSynced: true)), peers: withImages,
      goals: [.times(1, .storageDaemon)], fixture: .empty, isFresh: true, areSyncsCounted: true),
  ]
}
