import Foundation
import Glibc
import TestSupport
import Testing

/// The process behind the mount dies around a completion: the image has the old backing file or the new one, and all its
/// bytes with either; the new one once the write to `control` has succeeded.
@Suite(.enabled(if: MountedImages.isPossible), .timeLimit(.minutes(30)), .serialized)
struct CompletionKillTests {
  /// How many ended in which way, for a person who runs many.
  struct Tally {
    var old = 0
    var newUnheard = 0
    var new = 0
  }

  @Test(arguments: TestRun.seeds(1))
  func aCompletionHappensWhollyOrNotAtAll(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var tally = Tally()
    for _ in 1...4 { try complete(&random, &tally) }
    print("seed \(seed): \(tally)")
  }

  private func complete(_ random: inout SeededRandom, _ tally: inout Tally) throws {
    let disk = try LayeredDisk(random: &random)
    let keepsBase = random.oneIn(2)
    let target = keepsBase ? "base.raw" : nil
    try disk.images.mount("min-free=0\(target.map { ",base=\($0)" } ?? "")")
    if random.oneIn(2) { try disk.images.awaitState("pending") }
    let guests = Guests(on: disk, random: &random)
    usleep(UInt32.random(in: 0...30_000, using: &random))
    let completion = Waiter { [images = disk.images] in images.complete("") }
    // From long before the header is written to long after, most of them about there.
    usleep(UInt32(pow(10, Double.random(in: 3...5.2, using: &random))))
    try disk.images.kill(before: guests.release)
    let succeeded = completion.result() == nil
    #expect(guests.end() == [])

    let recorded = try disk.backingFile()
    #expect(recorded == target || recorded == "mid.qcow2" && !succeeded, "\(recorded ?? "none"), \(succeeded)")
    if succeeded { tally.new += 1 } else if recorded == target { tally.newUnheard += 1 } else { tally.old += 1 }
    try disk.images.expectNoErrors()
    try disk.expectImageHoldsWhatWasSynced()
    try disk.images.mount("stream=off")
    #expect(try disk.ledger.settle(disk.images.disk) == [])
    try disk.images.shell("flatcow umount mnt")
    try disk.expectEqual()
  }
}
