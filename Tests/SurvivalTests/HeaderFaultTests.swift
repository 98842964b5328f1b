import Foundation
import Glibc
import TestSupport
import Testing

/// A completion whose header cannot be written, while guests write and read.
@Suite(
  .enabled(if: FaultyFile.isPossible, "qemu-storage-daemon or /dev/fuse is missing: `make deps` as root"),
  .timeLimit(.minutes(10)), .serialized)
struct HeaderFaultTests {
  /// Leads to the base, and is too long for sector 0.
  static let longName = String(repeating: "./", count: 300) + "base.raw"

  @Test(arguments: [
    ("base.raw", FaultyFile.Fault(kind: .write, sectors: 0..<1, isOnce: true)),
    ("base.raw", FaultyFile.Fault(kind: .write, sectors: 0..<1)),
    (longName, FaultyFile.Fault(kind: .write, sectors: 1..<128)),
  ])
  func aHeaderThatCannotBeWrittenStaysAndCanBeWrittenAgain(_ name: String, fault: FaultyFile.Fault) throws {
    var random = SeededRandom(seed: 1)
    let disk = try LayeredDisk(geometry: "", random: &random)
    let images = disk.images
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("base=base.raw,min-free=0")
    let guests = Guests(on: disk, random: &random)
    try images.awaitState("pending")
    try file.set(fault)
    #expect(images.complete(name) == HostError(EIO))
    #expect(try images.text("control") == "mid.qcow2\n")
    #expect(try images.text("stream/state") == "failed\n")
    #expect(try images.text("stream/error").contains("cannot write"))
    #expect(try images.text("chain").split(separator: "\n").count == 3)
    if !fault.isOnce { try file.heal() }
    #expect(images.complete(name) == nil)
    #expect(try images.text("control") == name + "\n")
    #expect(guests.end() == [])
    #expect(try images.text("status.json").contains("\"durability\": \"ok\""))
    #expect(try disk.ledger.settle(images.disk) == [])
    try images.shell("flatcow umount mnt")
    try file.end()
    try images.shell("qemu-img check -q top.qcow2")
    #expect(try disk.backingFile() == name)
    try disk.expectEqual()
  }

  /// The first sync fails, the second, and so on, until the completion succeeds; once more from the first where it was never
  /// the header's, since what guests write makes a sync more or less.
  @Test func aFailedSyncOfTheCompletionIsFinal() throws {
    var random = SeededRandom(seed: 2)
    var unknown = 0
    for _ in 1...5 where unknown == 0 {
      for nth in 1... {
        let (hasCompleted, isUnknown) = try complete(failingSync: nth, &random)
        if isUnknown { unknown += 1 }
        if hasCompleted { break }
      }
    }
    #expect(unknown > 0)
  }

  private func complete(
    failingSync nth: Int, _ random: inout SeededRandom
  ) throws -> (hasCompleted: Bool, isUnknown: Bool) {
    let disk = try LayeredDisk(geometry: "", random: &random)
    let images = disk.images
    let file = try FaultyFile("top.qcow2", of: images)
    try images.mount("base=base.raw,min-free=0")
    try images.awaitState("pending")
    let guests = Guests([.cached, .direct], on: disk, syncing: false, random: &random)
    usleep(50_000)
    try file.set(FaultyFile.Fault(kind: .flush, isOnce: true, nth: nth))
    let error = images.complete("base.raw")
    let isUnknown = try images.text("stream/error").contains("may or may not have been changed")
    if error == nil {
      try file.heal()
    } else {
      #expect(error == HostError(EIO))
      try expectLoss(disk)
    }
    #expect(guests.end() == [])
    // The fault may still have met a sync that came after the completion.
    let isLost = try images.text("status.json").contains("\"durability\": \"lost\"")
    let ended = try images.run("flatcow umount mnt")
    #expect(ended.succeeded == !isLost, "\(ended.output)")
    try file.end()
    try images.expectNoErrors()
    let recorded = try disk.backingFile()
    #expect(recorded == (error == nil || isUnknown ? "base.raw" : "mid.qcow2"))
    try disk.expectImageHoldsWhatWasSynced()
    return (error == nil, isUnknown)
  }

  /// The guest goes on, and is told; the old layers stay.
  private func expectLoss(_ disk: LayeredDisk) throws {
    let images = disk.images
    #expect(try images.text("status.json").contains("\"durability\": \"lost\""))
    // Where the mount's own flush, every five seconds, met the fault first, nothing was begun.
    #expect(["failed\n", "pending\n"].contains(try images.text("stream/state")))
    let guest = try HostFile(images.disk)
    for _ in 1...2 { #expect(throws: HostError(EIO)) { try HostError.check(fsync(guest.descriptor)) } }
    #expect(images.complete("base.raw") == HostError(EIO))
    #expect(try images.text("chain").split(separator: "\n").count == 3)
    #expect(try !images.run("qemu-io -f qcow2 -c quit mid.qcow2").succeeded, "the middle layer is not locked")
  }
}
