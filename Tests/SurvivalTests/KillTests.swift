import Foundation
import Glibc
import TestSupport
import Testing

/// The process behind the mount dies at any moment: what a sync returned for is in the image.
@Suite(.enabled(if: MountedImages.isPossible), .timeLimit(.minutes(20)), .serialized)
struct KillTests {
  /// The same image goes through several deaths.
  @Test(arguments: TestRun.seeds(1))
  func whatWasSyncedSurvivesTheProcess(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let disk = try LayeredDisk(size: 64 << 20, random: &random)
    for round in 1...6 {
      let speed = random.oneIn(3) ? "0" : "\(Int.random(in: 4...60, using: &random))M"
      try disk.images.mount("speed=\(speed),min-free=0")
      #expect(try disk.ledger.settle(disk.images.disk) == [], "seed \(seed), round \(round)")
      let guests = Guests(on: disk, random: &random)
      usleep(UInt32.random(in: 1000...400_000, using: &random))
      try disk.images.kill(before: guests.release)
      #expect(guests.end() == [])
      try disk.images.expectNoErrors()
    }
    try disk.images.mount("min-free=0")
    #expect(try disk.ledger.settle(disk.images.disk) == [], "seed \(seed), the end")
    try disk.images.shell("flatcow finish mnt --timeout 60; flatcow umount mnt")
    try disk.images.expectNoErrors()
    try disk.expectEqual()
    try disk.expectImageHoldsWhatWasSynced()
  }
}
