import HostStorage
import ImageFormat
import TestSupport

/// Every short program: ten operations at four places, alone and one after the other, on a disk that has some data of its
/// own; then a flush, a write that may use again what came free, and another flush.
enum ShortPrograms {
  private static let geometry = CrashGeometry(diskSize: 40 << 10, baseSize: 30_001)

  /// A cluster's beginning, inside it, just before its end, and past the base's end.
  private static let places = [8192, 8492, 12_188, 30_200]

  private static let operations: [@Sendable (Int) -> [CrashProgram.Step]] = [
    { [.write(range($0, 700))] }, { [.write(range($0, 4096))] }, { [.write(range($0, 9000))] },
    { [.write(range($0, 4096)), .flush] },
    { [.zero(range($0, 700), reserving: false)] }, { [.zero(range($0, 4096), reserving: false)] },
    { [.zero(range($0, 4096), reserving: true)] }, { [.zero(range($0, 9000), reserving: false)] },
    { [.populate(range($0, 8192))] },
    { [.race(range($0, 2048), zeros: false, call: 2)] },
  ]

  private static func range(_ start: Int, _ count: Int) -> GuestRange {
    GuestRange(at: GuestOffset(start), count: ByteCount(count))
  }

  /// All operations at all places.
  static let steps = operations.flatMap { operation in places.map { operation($0) } }

  /// Random programs of several operations, always the same.
  static func sample(_ count: Int, operations: Int) -> [[CrashProgram.Step]] {
    var random = SeededRandom(seed: UInt64(operations))
    return (0..<count).map { _ in
      (0..<operations).flatMap { _ in steps.randomElement(using: &random) ?? [] }
    }
  }

  private static let before: [CrashProgram.Step] = [.write(range(8192, 8192)), .flush]
  private static let after: [CrashProgram.Step] = [.flush, .write(range(20_480, 8192)), .flush]

  /// Cuts the power at every moment of `steps` and of what follows.
  static func judge(_ steps: [CrashProgram.Step], share: Int, qemuEvery: Int? = nil) throws -> CrashFigures {
    var program = try CrashProgram(geometry, seed: 1)
    for step in before { try program.perform(step) }
    let began = program.position
    try program.run(steps + after)
    let judge = CrashJudge(record: program.record("short program"), share: share, qemuEvery: qemuEvery)
    return try judge.run(seed: 1, in: began..<Int.max)
  }

  /// The same, done by QEMU.
  static func judgeQemu(_ steps: [CrashProgram.Step], share: Int) throws -> CrashFigures {
    var program = try QemuProgram(geometry, seed: 1)
    return try CrashJudge(record: program.record("short program", before + steps + after), share: share).run(seed: 1)
  }
}
