import Foundation

/// How much of what could be tried this run tries; set by the Makefile's targets.
package enum TestRun {
  /// Everything, where the gate tries a selection (`make test-full`).
  package static let isFull = environment["FLATCOW_FULL"] != nil

  /// How many times as much as usual random tests do (`make torture`); nil: no more than usual.
  package static let rounds = environment["FLATCOW_ROUNDS"].flatMap(Int.init)

  /// Of a table that is otherwise tried whole, every how manieth row: for a build that runs slowly.
  package static let stride = environment["FLATCOW_STRIDE"].flatMap(Int.init) ?? 1

  /// For how long a program runs that could go on for ever, at least; 0: as short as it can be.
  package static let seconds = environment["FLATCOW_SECONDS"].flatMap(Int.init) ?? 0

  /// Seeds for a random test that runs `usual` of them in the gate. `make torture` runs many times as many.
  package static func seeds(_ usual: UInt64) -> ClosedRange<UInt64> {
    1...max(1, usual * UInt64(rounds ?? 1))
  }

  private static var environment: [String: String] { ProcessInfo.processInfo.environment }
}
