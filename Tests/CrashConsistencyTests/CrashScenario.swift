import HostStorage
import ImageFormat
import TestSupport

/// A kind of program whose crashes are counted on their own.
struct CrashScenario: CustomStringConvertible, Sendable {
  let name: String
  let geometries: [CrashGeometry]
  /// How often the guest and the job do what.
  var writes = 4
  var zeros = 2
  var populates = 2
  var flushes = 2
  var races = 1
  var length = 25
  /// Whether QEMU can be asked to do the like: its log tells of one file, and nothing of a stream.
  var isForQemu = true
  /// What comes at the end.
  var ending: @Sendable (inout SeededRandom) -> [CrashProgram.Step] = { _ in [] }

  var description: String { name }

  private static let small = CrashGeometry(clusterSize: 512, diskSize: 40 << 10, baseSize: 30_000)
  /// Every layer is shorter or longer than its neighbours, and none ends with a cluster.
  private static let three = [
    CrashGeometry(baseSize: 70_001, middleSize: 49_664),
    CrashGeometry(clusterSize: 512, diskSize: 40 << 10, baseSize: 40 << 10, middleSize: 25_088),
    CrashGeometry(diskSize: 50 << 10, baseSize: 40_007, middleSize: 48 << 10),
  ]

  static let all = [
    CrashScenario(
      name: "new L2 tables", geometries: [CrashGeometry(clusterSize: 512, diskSize: 192 << 10, baseSize: 100_001)]),
    CrashScenario(
      name: "refcount growth",
      geometries: [CrashGeometry(clusterSize: 512, refcountBits: 64, diskSize: 96 << 10, history: .full)], writes: 8),
    CrashScenario(
      name: "shared with a snapshot",
      geometries: [
        CrashGeometry(history: .snapshot), CrashGeometry(clusterSize: 512, diskSize: 32 << 10, history: .snapshot),
        CrashGeometry(history: .sharedBehindOwn),
      ]),
    CrashScenario(
      name: "many refcount blocks",
      geometries: [CrashGeometry(clusterSize: 512, refcountBits: 64, diskSize: 36 << 10, history: .scattered)],
      length: 1, isForQemu: false,
      ending: { _ in
        let disk = GuestRange(at: GuestOffset(0), count: ByteCount(36 << 10))
        return [.write(disk), .flush, .zero(disk, reserving: false)]
      }),
    CrashScenario(
      name: "discard and reuse", geometries: [CrashGeometry(), small, CrashGeometry(version: 2, diskSize: 64 << 10)],
      zeros: 6, populates: 0, flushes: 4),
    CrashScenario(
      name: "compressed overwrite", geometries: [CrashGeometry(history: .compressed)],
      ending: { _ in [.complete(kept: nil)] }),
    CrashScenario(
      name: "header rewrite", geometries: three, length: 3,
      ending: { random in
        let long = String(repeating: "n", count: Int.random(in: 20...120, using: &random))
        return [
          .complete(kept: 0, name: long), .complete(kept: 0), .complete(kept: 1, name: long + "b"), .complete(kept: 1),
          .complete(kept: nil),
        ]
      }),
    CrashScenario(name: "lazy refcounts", geometries: [CrashGeometry(history: .dirty)], length: 12),
    CrashScenario(
      name: "data file", geometries: [CrashGeometry(history: .dataFile)], isForQemu: false,
      ending: { _ in [.complete(kept: nil)] }),
    CrashScenario(
      name: "subclusters",
      geometries: [CrashGeometry(clusterSize: 16 << 10, hasExtendedL2: true, diskSize: 160 << 10, baseSize: 150_001)]),
    CrashScenario(
      name: "stream and flatten", geometries: three + [CrashGeometry()], length: 8,
      isForQemu: false, ending: { _ in [.complete(kept: nil)] }),
    CrashScenario(
      name: "stream, base kept", geometries: three, length: 8, isForQemu: false, ending: { _ in [.complete(kept: 1)] }),
    CrashScenario(
      name: "stream, base late", geometries: three, length: 8,
      isForQemu: false, ending: { _ in [.populateAll, .flush, .complete(kept: 1)] }),
    CrashScenario(
      name: "job, base late", geometries: three, length: 4, isForQemu: false, ending: { _ in [.flush, .job(kept: 1)] }),
    CrashScenario(name: "writes within a flush", geometries: [CrashGeometry(), small], races: 8),
    CrashScenario(
      name: "mixed", geometries: CrashGeometry.plain, length: 40,
      ending: { _ in [.complete(kept: nil)] }),
  ]

  /// What is done on which geometry, for a seed.
  private func program(_ seed: UInt64) -> (geometry: CrashGeometry, steps: [CrashProgram.Step]) {
    let geometry = geometries[Int(seed % UInt64(geometries.count))]
    var random = SeededRandom(seed: seed)
    return (geometry, (0..<length).map { _ in step(geometry, &random) } + ending(&random))
  }

  /// The program of a seed, run to its end.
  func record(seed: UInt64) throws -> CrashRecord {
    let (geometry, steps) = program(seed)
    var program = try CrashProgram(geometry, seed: seed)
    try program.run(steps)
    return program.record("\(name), \(geometry), seed \(seed)")
  }

  /// The same, done by QEMU, as far as it can.
  func recordOfQemu(seed: UInt64) throws -> CrashRecord {
    let (geometry, steps) = program(seed)
    var program = try QemuProgram(geometry, seed: seed)
    return try program.record("\(name), \(geometry), seed \(seed)", steps)
  }

  private func step(_ geometry: CrashGeometry, _ random: inout SeededRandom) -> CrashProgram.Step {
    let range = geometry.someRange(&random)
    var die = Int.random(in: 0..<(writes + zeros + populates + flushes + races), using: &random)
    for (weight, step) in [
      (writes, CrashProgram.Step.write(range)), (zeros, .zero(range, reserving: random.oneIn(2))),
      (populates, .populate(range)), (flushes, .flush),
    ] {
      if die < weight { return step }
      die -= weight
    }
    return .race(range, zeros: random.oneIn(3), call: Int.random(in: 1...6, using: &random))
  }
}

extension CrashGeometry {
  /// Whole clusters, sectors, or ragged ends.
  func someRange(_ random: inout SeededRandom) -> GuestRange {
    let unit = [clusterSize, 512, 1].randomElement(using: &random) ?? 1
    let start = Int.random(in: 0..<diskSize, using: &random) / unit * unit
    let longest = min(diskSize - start, 6 * clusterSize)
    let count = max(1, Int.random(in: 1...longest, using: &random) / unit * unit)
    return GuestRange(at: GuestOffset(start), count: ByteCount(min(count, diskSize - start)))
  }
}
