import Foundation
import TestSupport
import Testing

/// The seed says what each thread asks for; in which order it comes is the host's business.
@Suite struct EverythingAtOnceTests {
  @Test(arguments: SharedDisk.Shape.all)
  func nobodyEverReadsWhatNoOrderOfTheRequestsExplains(_ shape: SharedDisk.Shape) throws {
    let end = Date().addingTimeInterval(Double(TestRun.seconds))
    var (requests, seed): (Int, UInt64) = (0, 0)
    repeat {
      seed += 1
      let result = try ConcurrencyProgram(shape, seed: seed).run()
      requests += result.requests
      #expect(result.complaints == [], "\(shape) seed \(seed)")
    } while seed < 3 || Date() < end
    print("\(shape): \(seed) programs, \(requests) requests")
  }
}
