import Foundation
import HostStorage
import TestSupport
import Testing

/// Everything, with many seeds, and a table of what was found; `make torture` asks for it.
@Suite(.serialized, .enabled(if: TestRun.rounds != nil)) struct TortureTests {
  /// Parts of the run, by the scenario they belong to: 20 seeds of each, all short programs of one and two operations, and 200
  /// of three; a round more is as many seeds and threes more.
  private static func parts(rounds: Int) -> [Part] {
    let steps = ShortPrograms.steps
    return CrashScenario.all.flatMap { scenario in
      (1...UInt64(20 * rounds)).map { seed in
        Part(scenario.name) {
          try CrashJudge(record: scenario.record(seed: seed), share: 24, qemuEvery: 100).run(seed: seed)
        }
      }
    }
      + steps.map { step in Part("one operation") { try ShortPrograms.judge(step, share: 200, qemuEvery: 40) } }
      + steps.map { first in
        Part("two operations") {
          try steps.reduce(into: CrashFigures()) { sum, second in
            sum += try ShortPrograms.judge(first + second, share: 20)
          }
        }
      }
      + ShortPrograms.sample(200 * rounds, operations: 3).map { steps in
        Part("three operations") { try ShortPrograms.judge(steps, share: 20) }
      }
  }

  /// The like by QEMU, to be compared with; the two operations are a sample.
  private static func partsOfQemu(rounds: Int) -> [Part] {
    CrashScenario.all.filter(\.isForQemu).flatMap { scenario in
      (1...UInt64(5 * rounds)).map { seed in
        Part(scenario.name) {
          try CrashJudge(record: scenario.recordOfQemu(seed: seed), share: 24).run(seed: seed)
        }
      }
    }
      + ShortPrograms.steps.map { step in Part("one operation") { try ShortPrograms.judgeQemu(step, share: 100) } }
      + ShortPrograms.sample(100 * rounds, operations: 2).map { steps in
        Part("two operations") { try ShortPrograms.judgeQemu(steps, share: 20) }
      }
  }

  private struct Part: Sendable {
    let name: String
    let run: @Sendable () throws -> CrashFigures

    init(_ name: String, _ run: @escaping @Sendable () throws -> CrashFigures) {
      self.name = name
      self.run = run
    }
  }

  @Test func noCrashLosesAnything() throws {
    let found = try Self.run(Self.parts(rounds: TestRun.rounds ?? 1))
    print(found)
    for finding in found.findings + found.failures { Issue.record("\(finding)") }
  }

  /// What QEMU loses is not this project's fault: it is shown only.
  @Test func qemuIsJudgedAlike() throws {
    let found = try Self.run(Self.partsOfQemu(rounds: TestRun.rounds ?? 1))
    print("QEMU's own", found, separator: "\n")
    for finding in found.findings { print(finding) }
    for failure in found.failures { Issue.record("\(failure)") }
  }

  /// Runs the parts on all processors.
  private static func run(_ parts: [Part]) throws -> CrashTally {
    let next = Monitor(0)
    let tally = Monitor(CrashTally())
    let threads = try (0..<ProcessInfo.processInfo.activeProcessorCount).map { number in
      try HostThread.start(name: "torture-\(number)") {
        while let part = next.withLock({ next in
          defer { next += 1 }
          return next < parts.count ? parts[next] : nil
        }) {
          let figures = Result { try part.run() }
          tally.withLock { $0.add(figures, of: part.name) }
        }
      }
    }
    for thread in threads { thread.join() }
    return tally.read { $0 }
  }
}
