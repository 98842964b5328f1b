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

  /// What the scenario is for: the header's pointer to the table changes.
  @Test func theRefcountTableGrows() throws {
    let scenario = try #require(CrashScenario.all.first { $0.name == "refcount growth" })
    for seed in 1...4 as ClosedRange<UInt64> {
      let writes = try scenario.record(seed: seed).log.map(\.operation.description)
      #expect(writes.contains("write 0+512"))
    }
  }

  @Test(arguments: ShortPrograms.steps.indices)
  func noShortProgramLosesAnything(_ first: Int) throws {
    let steps = ShortPrograms.steps
    expectWhole(try ShortPrograms.judge(steps[first], share: 8))
    // The same again, and something else elsewhere.
    for second in [first, (first + 21) % steps.count] {
      expectWhole(try ShortPrograms.judge(steps[first] + steps[second], share: 4))
    }
  }

  /// A log of the kind that tells of QEMU's writes, made of a program's, is judged alike.
  @Test func aLogThatWasWrittenDownIsJudgedAlike() throws {
    var record = try #require(CrashScenario.all.first { $0.name == "mixed" }).record(seed: 1)
    let written = WriteLog.encode(record.log.map(\.operation), on: record.images.active[0])
    record.log = try WriteLog.decode(written).map { StorageJournal.Entry($0.operation) }
    expectWhole(try CrashJudge(record: record, share: 6).run(seed: 1))
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
  for finding in figures.findings.values { Issue.record("\(finding)", sourceLocation: sourceLocation) }
}
