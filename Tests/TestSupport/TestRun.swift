import Foundation

/// How much of what could be tried this run tries; set by the Makefile's targets.
package enum TestRun {
  /// Everything, where the gate tries a selection (`make test-full`).
  package static let isFull = environment["FLATCOW_FULL"] != nil

  /// Seeds for a random test that runs `usual` of them in the gate. `make torture` runs many times as many.
  package static func seeds(_ usual: UInt64) -> ClosedRange<UInt64> {
    let rounds = environment["FLATCOW_ROUNDS"].flatMap(UInt64.init) ?? 1
    return 1...max(1, usual * rounds)
  }

  private static var environment: [String: String] { ProcessInfo.processInfo.environment }
}
