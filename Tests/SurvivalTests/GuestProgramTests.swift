import Foundation
import Glibc
import TestSupport
import Testing

/// Programs that make life hard for file systems, on the disk and on a loop device over it, while the job runs.
@Suite(.enabled(if: MountedImages.isPossible), .timeLimit(.minutes(30)), .serialized)
struct GuestProgramTests {
  static let hasLoopDevices = geteuid() == 0 && (try? ExternalProgram("losetup").run("--find").succeeded) == true

  @Test(arguments: TestRun.seeds(1))
  func theDiskIsWhatWasWrittenInEveryWay(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let disk = try LayeredDisk(random: &random)
    let images = disk.images
    let isCached = !random.oneIn(4)
    let cache = isCached ? "writeback" : "none"
    try images.mount("speed=\(Int.random(in: 2...20, using: &random))M,min-free=0,cache=\(cache)")
    var model = Array(disk.ledger.bytes)
    do {
      var guest = try DiskExerciser(images, model: model, isMapped: isCached, seed: seed)
      try guest.run(steps: 150)
      let base = random.oneIn(2) ? "base.raw" : ""
      let completion = Waiter { images.complete(base) }
      try guest.run(steps: 150)
      #expect(completion.result() == nil)
      try guest.run(steps: 50)
      model = guest.model
    }
    try images.shell("flatcow umount mnt; qemu-img check -q top.qcow2")
    try disk.expectEqual(Data(model))
  }

  /// fio looks at what it wrote at once, and again when the chain has been completed and mounted anew.
  @Test(.enabled(if: hasLoopDevices))
  func fioFindsWhatItWrote() throws {
    var random = SeededRandom(seed: 8)
    let images = try LayeredDisk(size: 64 << 20, random: &random).images
    defer { _ = try? images.run("losetup -d $(cat loop)") }
    // One after another: each flushes the device's cache before it begins, under the feet of others.
    let fio = """
      job() {
        fio --filename=$(cat loop) --verify=crc32c --verify_fatal=1 --size=14M --output=fio.log --name=$1 --rw=randwrite "${@:2}" \
          || { cat fio.log; exit 1; }
      }
      torture() {
        job cached --ioengine=psync --bsrange=512-64k "$@"
        job queued --ioengine=libaio --iodepth=16 --direct=1 --bsrange=512-64k --offset=16M "$@"
        job threads --ioengine=posixaio --iodepth=8 --bsrange=4k-128k --offset=32M "$@"
        job synced --ioengine=psync --direct=1 --sync=1 --bsrange=4k-256k --offset=48M "$@"
      }

      """
    try images.mount("speed=20M,min-free=0")
    try images.shell("losetup --find --show mnt/disk > loop")
    try images.shell(fio + "flatcow finish mnt --timeout 60 & torture; wait $!")
    try images.shell(
      "losetup -d $(cat loop); until flatcow umount mnt; do sleep 0.1; done; qemu-img check -q top.qcow2")
    try images.mount("stream=off")
    try images.shell("losetup --find --show mnt/disk > loop")
    try images.shell(fio + "torture --verify_only")
    try images.shell("losetup -d $(cat loop); until flatcow umount mnt; do sleep 0.1; done")
  }

  /// What a file system's own fsync returned for is there when its journal has been replayed.
  @Test(
    .enabled(if: hasLoopDevices),
    arguments: [("mkfs.ext4 -q", "e2fsck -fn"), ("mkfs.xfs -q -f", "xfs_repair -n")])
  func aFileSystemSurvivesTheDeathOfItsDisk(make: String, check: String) throws {
    let images = try MountedImages()
    defer { _ = try? images.run("umount -l fs || true; losetup -d $(cat loop)") }
    try images.shell("truncate -s 512M base.raw; head -c 60M /dev/urandom | dd of=base.raw conv=notrunc status=none")
    try images.shell("flatcow create top.qcow2 -b base.raw -F raw; mkdir fs")
    try images.mount("speed=30M,min-free=0")
    try images.shell("losetup --find --show mnt/disk > loop; \(make) $(cat loop); mount $(cat loop) fs")
    for round in 1...3 {
      let writer = Waiter {
        try? images.run(
          """
          for i in $(seq 1000); do
            head -c $((RANDOM * 7)) /dev/urandom > data; cp data fs/\(round)-$i; sync fs/\(round)-$i fs
            sha256sum < data | sed "s,-,fs/\(round)-$i," >> sums
          done
          """)
      }
      usleep(700_000)
      try images.kill()
      _ = writer.result()
      try images.shell(
        "umount -l fs; losetup -d $(cat loop); while losetup $(cat loop) 2>/dev/null; do sleep 0.1; done")
      try images.expectNoErrors()
      try images.mount("speed=30M,min-free=0")
      try images.shell("losetup --find --show mnt/disk > loop; mount $(cat loop) fs; sha256sum --check --quiet sums")
    }
    try images.shell(
      "flatcow finish mnt --timeout 100; sha256sum --check --quiet sums; umount fs; \(check) $(cat loop)")
    try images.shell("losetup -d $(cat loop); until flatcow umount mnt; do sleep 0.1; done; rm base.raw")
    try images.expectNoErrors()
  }
}
