import Foundation
import HostStorage
import TestSupport
import Testing

/// Everything, with many seeds, and a table of what was found; `make torture` asks for it.
@Suite(.enabled(if: TestRun.rounds != nil)) struct TortureTests {
  /// Seeds for each scenario, and short programs of three operations, per round.
  private static let seeds = 20
  private static let triples = 200

  /// Parts of the run, by the scenario they belong to; the long ones first.
  private static func parts(rounds: Int) -> [Part] {
    let scenarios = (1...seeds * rounds).flatMap { seed in
      CrashScenario.all.map { scenario in
        Part(scenario.name) {
          try CrashJudge(record: scenario.record(seed: UInt64(seed)), share: 24, qemuEvery: 80).run(seed: UInt64(seed))
        }
      }
    }
    let steps = ShortPrograms.steps
    let pairs = steps.map { first in
      Part("two operations") {
        try steps.reduce(into: CrashFigures()) { sum, second in
          sum += try ShortPrograms.judge(first + second, share: 12)
        }
      }
    }
    var random = SeededRandom(seed: 3)
    let triples = (0..<triples * rounds).map { _ in
      let three = (0..<3).compactMap { _ in steps.randomElement(using: &random) }
      return Part("three operations") { try ShortPrograms.judge(Array(three.joined()), share: 12) }
    }
    return scenarios
      + steps.map { step in Part("one operation") { try ShortPrograms.judge(step, share: 100, qemuEvery: 40) } }
      + pairs + triples
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
    let parts = Self.parts(rounds: TestRun.rounds ?? 1)
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
    let found = tally.read { $0 }
    print(found)
    for finding in found.findings { Issue.record("\(finding)") }
  }
}
