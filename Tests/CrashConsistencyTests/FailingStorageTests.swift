import TestSupport
import Testing

/// Fails the Nth call of a storage, for every N, once and for ever: what was asked fails with that error or has its whole
/// effect, nothing traps, and when the fault is gone everything goes on. A failed sync alone is final.
@Suite struct FailingStorageTests {
  @Test func everyFaultOfEveryCallIsReportedAndPoisonsNothing() throws {
    let images = try FaultImages()
    let scenarios = stride(from: 0, to: FaultScenario.all.count, by: TestRun.stride).map { FaultScenario.all[$0] }
    let runs = scenarios.map { scenario in Waiter { Self.injections(into: scenario, images) } }
    let results = zip(scenarios, runs).map { ($0.name, $1.result()) }
    for (name, result) in results {
      print("\(result.injections) faults: \(name)")
      #expect(result.injections >= 10, "\(name) meets no faults")
      #expect(result.complaints.isEmpty, "\(name): \(result.complaints.count): \(result.complaints.prefix(5))")
    }
    let total = results.map(\.1.injections).reduce(0, +)
    print("\(total) faults in \(results.count) scenarios")
    #expect(total >= 5000 || TestRun.stride > 1)
  }

  private static func injections(
    into scenario: FaultScenario, _ images: FaultImages
  ) -> (injections: Int, complaints: [String]) {
    var (injections, complaints) = (0, [String]())
    for (action, faults) in FaultScenario.faults {
      for (fault, forEver) in faults.flatMap({ [($0, false), ($0, true)] }) {
        for nth in 1... {
          var disk = FaultedDisk(scenario, images, action: action, fault: fault)
          let place = "\(action) \(nth) \(fault.errno)\(fault.fallsShort ? " short" : "")\(forEver ? " for ever" : "")"
          do {
            let plan = FaultPlan([action], nth: nth, fault: fault, forEver: forEver)
            guard try disk.run(plan) else { break }
          } catch {
            complaints.append("\(place): \(error)")
          }
          complaints += disk.complaints.map { "\(place): \($0)" }
          injections += 1
        }
      }
    }
    return (injections, complaints)
  }
}
