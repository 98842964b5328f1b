import HostStorage
import ImageFormat
import TestSupport
import Testing

/// Cuts the power at every moment of programs, loses every kind of unsynced write, and looks at the data.
@Suite struct PowerCutTests {
  @Test(arguments: CrashScenario.all)
  func nothingSyncedIsLostAndNothingForeignAppears(_ scenario: CrashScenario) throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let judge = CrashJudge(record: try scenario.record(seed: seed), share: 6, qemuEvery: seed == 1 ? 100 : nil)
      expectWhole(try judge.run(seed: seed))
    }
  }

  @Test(arguments: ShortPrograms.steps.indices)
  func noShortProgramLosesAnything(_ first: Int) throws {
    let steps = ShortPrograms.steps
    expectWhole(try ShortPrograms.judge(steps[first], share: 8))
    var random = SeededRandom(seed: UInt64(first))
    for second in [first, (0..<steps.count).randomElement(using: &random) ?? 0] {
      expectWhole(try ShortPrograms.judge(steps[first] + steps[second], share: 4))
    }
  }

  @Test func aRaggedWriteIntoKeptZerosIsNeverHalfThere() throws {
    let cluster = GuestRange(at: GuestOffset(4096), count: 4096)
    var program = try CrashProgram(CrashGeometry(), seed: 1)
    try program.run([
      .write(cluster), .flush, .zero(cluster, reserving: true), .write(GuestRange(at: GuestOffset(5000), count: 700)),
    ])
    expectWhole(try CrashJudge(record: program.record("kept zeros"), share: 100).run(seed: 1))
  }
}

/// Says that nothing was found.
func expectWhole(_ figures: CrashFigures, sourceLocation: SourceLocation = #_sourceLocation) {
  for finding in figures.findings { Issue.record("\(finding)", sourceLocation: sourceLocation) }
}
