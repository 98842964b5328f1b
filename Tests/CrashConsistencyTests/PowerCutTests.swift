import HostStorage
import ImageFormat
import TestSupport
import Testing

/// Cuts the power at every moment of random programs, loses every kind of unsynced write, and looks at the data.
@Suite struct PowerCutTests {
  @Test(arguments: CrashScenario.all)
  func nothingSyncedIsLostAndNothingForeignAppears(_ scenario: CrashScenario) throws {
    for seed in TestRun.seeds(3) {
      let judge = CrashJudge(record: try scenario.record(seed: seed), share: 4, qemuEvery: seed == 1 ? 100 : nil)
      expectWhole(try judge.run(seed: seed))
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
