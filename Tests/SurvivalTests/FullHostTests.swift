import Foundation
import Glibc
import TestSupport
import Testing

private let hasLoopDevices = geteuid() == 0 && (try? ExternalProgram("losetup").run("--find").succeeded) == true

/// The image's own file system fills up while the job runs.
@Suite(
  .enabled(if: MountedImages.isPossible && hasLoopDevices, "only root mounts a small file system"),
  .timeLimit(.minutes(10)), .serialized)
struct FullHostTests {
  private let disk: LayeredDisk
  private let host: SmallFileSystem
  private var images: MountedImages { disk.images }
  /// In sectors: as much as is written at once.
  private static let piece = 512

  init() throws {
    var random = SeededRandom(seed: 5)
    disk = try LayeredDisk(size: 48 << 20, geometry: "", random: &random)
    host = try SmallFileSystem(in: disk.images)
    try images.shell("rm top.qcow2; qemu-img create -q -f qcow2 -b $PWD/mid.qcow2 -F qcow2 small/top.qcow2")
    try images.shell("ln -s small/top.qcow2 top.qcow2; fallocate -l 32M small/filler")
  }

  private func has(_ text: String) throws -> Bool { try images.text("status.json").contains(text) }

  /// Guests write until the host takes no more, from the end of the disk, where the job has not been yet.
  private func fill() throws {
    let error = #expect(throws: HostError.self) {
      for start in stride(from: disk.ledger.sectors - Self.piece, to: 0, by: -Self.piece) {
        try disk.write(start..<(start + Self.piece), by: 1)
        try disk.sync(1)
      }
    }
    #expect(error == HostError(ENOSPC))
    #expect(try has("\"durability\": \"ok\""))
    #expect(try disk.ledger.settle(images.disk) == [])
  }

  /// Writes through the kernel's cache to where nothing is allocated, and syncs twice; by a thread. The first error.
  private func writeBack() -> Waiter<HostError?> {
    let range = 8..<(8 + 8 * Self.piece)
    let bytes = disk.ledger.willWrite(range, by: 2)
    return Waiter { [path = images.disk] in
      do throws(HostError) {
        let guest = try HostFile(path)
        try guest.write(bytes, at: range.lowerBound * SectorLedger.sectorSize)
        for _ in 1...2 { try HostError.check(fsync(guest.descriptor)) }
        return nil
      } catch {
        return error
      }
    }
  }

  /// A write-back finds no space, and waits while the rest goes on; then there is some.
  private func waitForSpace() throws {
    // Its close would wait with the pages. So would a program that is started: it has the disk open until it has begun.
    let reader = try HostFile(images.disk, O_RDONLY)
    let guest = writeBack()
    let isParked = eventually { (try? has("\"parked_writes\": 0")) == false ? true : nil }
    #expect(isParked == true)
    #expect(try images.text("stream/state") == "paused\n")
    #expect(try reader.read(512, at: 16 << 20).count == 512)
    try FileManager.default.removeItem(atPath: images.path("small/filler"))
    #expect(guest.result() == nil)
    disk.ledger.didSync(2)
  }

  @Test(arguments: ["min-free=12M", "min-free=0,on-error=enospc"])
  func aFullHostStopsTheJobThenTheGuestAndAllGoesOn(_ options: String) throws {
    // The job begins at the start of the disk, where the guest is to have room to fill.
    try images.mount("trust-chain,stream=off,\(options)")
    try images.shell("fallocate --zero-range -l 4M mnt/disk")
    disk.ledger.zero(0..<8192)
    try images.shell("flatcow stream mnt")
    try images.awaitState("paused")
    let isForecast = options == "min-free=12M"
    #expect(try has(isForecast ? "[\"space\"]" : "[\"error\"]"))
    if isForecast {
      try disk.write((disk.ledger.sectors - Self.piece)..<disk.ledger.sectors)
      try disk.sync()
    }
    try fill()
    try waitForSpace()
    try images.shell("flatcow resume mnt; flatcow finish mnt --timeout 60")
    #expect(try has("\"durability\": \"ok\""))
    #expect(try disk.ledger.settle(images.disk) == [])
    try images.shell("flatcow umount mnt; qemu-img check -q top.qcow2")
    try disk.expectEqual()
    try disk.expectImageHoldsWhatWasSynced()
  }

  @Test func whatWaitedForSpaceInVainIsTold() throws {
    let daemon = Waiter { [images = disk.images] in
      try? images.run("flatcow mount -f top.qcow2 mnt -o trust-chain,no-space-timeout=1,min-free=0").status
    }
    try images.awaitState("paused")
    try fill()
    #expect(writeBack().result() == HostError(EIO))
    #expect(try has("\"durability\": \"lost\""))
    try images.shell("rm small/filler")
    #expect(throws: HostError(EIO)) { try disk.sync() }
    #expect(images.complete("") == HostError(EIO))
    #expect(try images.run("flatcow umount mnt").status == 3)
    #expect(daemon.result() == 3)
    try images.expectNoErrors()
    try disk.expectImageHoldsWhatWasSynced()
  }
}

/// An ext4 of 64 MiB at `small`, as long as the value lives.
private final class SmallFileSystem: Sendable {
  private let images: MountedImages

  init(in images: MountedImages) throws {
    self.images = images
    try images.shell("truncate -s 64M host; mkfs.ext4 -q -m 0 host; mkdir small; mount -o loop host small")
  }

  deinit { _ = try? images.run("umount -l mnt || true; umount -l small") }
}
