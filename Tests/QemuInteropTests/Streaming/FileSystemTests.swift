import Foundation
import Glibc
import TestSupport
import Testing

private let hasLoopDevices = geteuid() == 0 && (try? ExternalProgram("losetup").run("--find").succeeded) == true

/// A guest's file system on the mounted disk: made, filled while the job streams, still mounted at completion, checked.
@Suite(.timeLimit(.minutes(5)), .serialized, .enabled(if: hasLoopDevices))
struct FileSystemTests {
  /// A few thousand files, 40 bytes to 100 KiB.
  private static func fill(_ directory: String) throws {
    var random = SeededRandom(seed: 7)
    for folder in 0..<30 {
      let path = "\(directory)/\(folder)"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      for file in 0..<80 {
        let count = random.oneIn(20) ? 100_000 : Int.random(in: 40...3000, using: &random)
        try Data(random.bytes(count: count)).write(to: URL(filePath: "\(path)/\(file).swift"))
      }
    }
  }

  @Test(arguments: [
    ("ext4", "mkfs.ext4 -q", "e2fsck -fn"), ("xfs", "mkfs.xfs -q -f", "xfs_repair -n"),
  ])
  func filesSurviveStreamingAndCompletion(_ kind: String, make: String, check: String) throws {
    let disk = try StreamedDisk()
    try disk.shell("losetup --find --show $MNT/disk > loop; \(make) $(cat loop); mkdir fs; mount $(cat loop) fs")
    defer {
      try? disk.shell("! mountpoint -q fs || umount fs")
      try? disk.shell("! losetup $(cat loop) 2>/dev/null || losetup -d $(cat loop)")
    }
    try Self.fill(disk.path("fs"))
    try disk.shell("(cd fs; find . -type f -exec sha256sum {} +) > sums; [ $(wc -l < sums) = 2400 ]")
    try disk.finish()
    try disk.shell("cd fs; sha256sum --check --quiet ../sums")
    try disk.shell("umount fs; \(check) $(cat loop)")
    try disk.shell("mount -o ro $(cat loop) fs; (cd fs; sha256sum --check --quiet ../sums); umount fs")
    try disk.shell("losetup -d $(cat loop); while losetup $(cat loop) 2>/dev/null; do sleep 0.1; done")
    try disk.unmount()
  }

  /// Not every kernel has it, so mtools takes its place.
  @Test func filesOnVfatSurviveStreamingAndCompletion() throws {
    let disk = try StreamedDisk()
    try disk.shell("mkfs.vfat $MNT/disk; mkdir files back")
    try Self.fill(disk.path("files"))
    try disk.shell("mcopy -s -i $MNT/disk files ::/")
    try disk.finish()
    try disk.shell("fsck.vfat -n $MNT/disk; mcopy -s -i $MNT/disk ::/files back; diff -r files back/files")
    try disk.unmount()
  }
}

/// A chain of random bytes under an empty image, mounted by the built command, its job running.
private final class StreamedDisk {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try shell("mkdir mnt; truncate -s 512M base.raw")
    try shell("head -c 100M /dev/urandom | dd of=base.raw conv=notrunc status=none")
    try shell("$FLATCOW create top.qcow2 -b base.raw -F raw; $FLATCOW mount top.qcow2 mnt -o min-free=0")
  }

  deinit { _ = try? shell("if mountpoint -q mnt; then $FLATCOW umount --lazy mnt; fi") }

  func path(_ name: String) -> String { directory.path(name) }

  func shell(_ lines: String) throws {
    let setting = ["FLATCOW=\(MountedRun.flatcow.name)", "MNT=\(directory.path("mnt"))", "MTOOLS_SKIP_CHECK=1"]
    let path = "PATH=\(ProcessInfo.processInfo.environment["PATH"] ?? ""):/usr/sbin:/sbin"
    let outcome = try ExternalProgram("env").run(
      setting + [path, "timeout", "120", "bash", "-ec", lines], in: directory.url)
    try #require(outcome.succeeded, "\(lines): \(outcome.output)")
  }

  func finish() throws { try shell("$FLATCOW finish mnt --timeout 100") }

  /// The image stands alone then, whole and clean.
  func unmount() throws {
    try shell("$FLATCOW umount mnt; rm base.raw; qemu-img check -q top.qcow2")
  }
}
