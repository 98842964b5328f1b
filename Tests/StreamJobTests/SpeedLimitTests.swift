import HostStorage
import Testing

@testable import StreamJob

/// QEMU's accounting in slices of 100 ms.
@Suite struct SpeedLimitTests {
  let start = SuspendingClock.now

  @Test func withoutALimitNothingWaits() {
    var limit = SpeedLimit(0)
    limit.charge(1_000_000_000, at: start)
    #expect(limit.opens(after: start) == nil)
    #expect(limit.chunk(atMost: 2_097_152) == 2_097_152)
  }

  @Test func theFirstChunkIsNotDelayedAndAChunkPaysForItsSlices() {
    var limit = SpeedLimit(ByteCount(4 << 20))
    #expect(limit.opens(after: start) == nil)
    limit.charge(524_288, at: start)
    // 512 KiB at 4 MiB/s: an eighth of a second.
    #expect(limit.opens(after: start).map { abs(($0 - start) / .milliseconds(125) - 1) < 0.01 } == true)
    #expect(limit.opens(after: start + .milliseconds(126)) == nil)
  }

  @Test func whatASliceHoldsIsFree() {
    var limit = SpeedLimit(10_000_000)
    limit.charge(400_000, at: start)
    limit.charge(400_000, at: start)
    #expect(limit.opens(after: start) == nil)
    limit.charge(400_000, at: start)
    #expect(limit.opens(after: start) != nil)
  }

  @Test func anOldSliceIsForgotten() {
    var limit = SpeedLimit(10_000_000)
    limit.charge(999_999, at: start)
    limit.charge(999_999, at: start + .seconds(1))
    #expect(limit.opens(after: start + .seconds(1)) == nil)
  }

  @Test func aChangeCountsAtOnce() {
    var limit = SpeedLimit(1)
    limit.charge(65536, at: start)
    #expect(limit.opens(after: start + .seconds(60)) != nil)
    limit.bytesPerSecond = 1_000_000
    #expect(limit.opens(after: start + .milliseconds(100)) == nil)
    limit.bytesPerSecond = 0
    #expect(limit.opens(after: start) == nil)
  }

  @Test func zerosCostNothing() {
    var limit = SpeedLimit(1)
    limit.charge(0, at: start)
    #expect(limit.opens(after: start) == nil)
  }

  @Test(.timeLimit(.minutes(1))) func aSleepingJobIsWokenByAHigherSpeed() {
    let running = RunningJob(FakeTarget(units: 100), StreamOptions(start: .on, speed: 1))
    running.wait { $0.copied > 0 }
    #expect(running.status.copied == FakeTarget.unit)
    running.job.setSpeed(0)
    running.awaitState(.pending)
  }

  @Test(.timeLimit(.minutes(1))) func aSleepingJobIsCancelledAtOnce() throws {
    let running = RunningJob(FakeTarget(units: 100), StreamOptions(start: .on, speed: 1))
    running.wait { $0.copied > 0 }
    try running.job.cancel()
    #expect(running.job.shutDown(patience: .seconds(10)))
  }
}
