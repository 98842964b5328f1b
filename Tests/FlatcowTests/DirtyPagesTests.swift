import Foundation
import HostStorage
import TestSupport
import Testing

@testable import flatcow

/// Pages of `disk` that are dirty in the kernel, by write(2) and by a mapping. The process that serves them is another one:
/// one that serves its own page faults, or closes its own copies of open files, may wait for itself.
@Suite(.enabled(if: MountedChain.isPossible, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct DirtyPagesTests {
  private static let seekData: Int32 = 3
  private static let seekHole: Int32 = 4
  private static let page = 4096

  /// Changes a byte of a page by a mapping, and has the kernel write it back, or not; the mapping stays until the return.
  private func change(_ disk: HostFile, at offset: Int, sync: Bool, during body: () throws -> Void = {}) throws {
    let map = unsafe mmap(nil, Self.page, PROT_READ | PROT_WRITE, MAP_SHARED, disk.descriptor, offset)
    try #require(unsafe map != MAP_FAILED)
    defer { unsafe munmap(map, Self.page) }
    unsafe UnsafeMutableRawBufferPointer(start: map, count: Self.page)[5] = 1
    if sync { #expect(unsafe msync(map, Self.page, MS_SYNC) == 0) }
    try body()
  }

  @Test(arguments: ["qcow2", "raw"])
  func whatAMappingHasSyncedIsInTheImageWhenTheProcessIsKilled(_ format: String) throws {
    let chain = try MountedChain()
    let top = try #require(try empty(format, in: chain))
    try #require(try chain.run("mount", "-o", "stream=off", "--pid-file", "pid", top, chain.mountpoint).succeeded)
    let disk = try HostFile("\(chain.mountpoint)/disk")
    let daemon = try chain.daemon
    try change(disk, at: 1 << 20, sync: true) {
      kill(daemon, SIGKILL)
      chain.waitForEnd(of: daemon)
    }
    let seen = try ExternalProgram("qemu-io").run(
      "-r", "-f", format, "-c", "read -P 1 \((1 << 20) + 5) 1", chain.directory.path(top))
    #expect(seen.succeeded && !seen.output.contains("failed"), "\(seen.output)")
  }

  enum Way: CaseIterable { case cached, mapped }

  @Test(arguments: ["qcow2", "raw"], Way.allCases)
  func holesAreShownWhileSomebodyWritesAndDataIsNone(_ format: String, _ way: Way) throws {
    for isSynced in [true, false] {
      let chain = try MountedChain()
      let top = try #require(try empty(format, in: chain))
      try #require(try chain.run("mount", "-o", "stream=off", "--pid-file", "pid", top, chain.mountpoint).succeeded)
      let place = "\(chain.mountpoint)/disk"
      let (disk, reader) = (try HostFile(place), try HostFile(place, O_RDONLY))
      for (count, offset) in stride(from: 1 << 20, to: 4 << 20, by: 1 << 20).enumerated() {
        func look() {
          // Whoever closes the disk meanwhile (a child of another test that has inherited it) may have all count as data once.
          let hole = offset - 65536
          #expect(eventually { lseek(reader.descriptor, hole, Self.seekHole) == hole ? true : nil } == true)
          let data = lseek(reader.descriptor, offset - 65536, Self.seekData)
          #expect(data >= offset - 65536 && data <= offset)
          #expect(lseek(reader.descriptor, offset, Self.seekData) == offset)
          var status = stat()
          #expect(unsafe fstat(reader.descriptor, &status) == 0)
          #expect(status.st_blocks >= 8 * (count + 1))
        }
        switch way {
        case .mapped: try change(disk, at: offset, sync: isSynced, during: look)
        case .cached:
          try disk.write([UInt8](repeating: 1, count: Self.page), at: offset)
          if isSynced { #expect(fsync(disk.descriptor) == 0) }
          look()
        }
      }
      let shown = eventually { () -> Int? in
        let stat = try? ExternalProgram("stat").run("-c", "%b", place)
        let blocks = stat.flatMap { Int($0.output.split(separator: "\n").first ?? "") } ?? .max
        return blocks < (2 << 20) / 512 ? blocks : nil
      }
      #expect(shown != nil, "\(format), \(way), synced: \(isSynced)")
    }
  }

  @Test func theMountIsNotInUseOnceThoseWhoLookedForHolesAreGone() throws {
    let chain = try MountedChain()
    let top = try #require(try empty("raw", in: chain))
    try #require(try chain.run("mount", "-o", "stream=off", "--pid-file", "pid", top, chain.mountpoint).succeeded)
    for _ in 0..<20 {
      let disk = try HostFile("\(chain.mountpoint)/disk")
      try disk.write([1], at: 1 << 20)
      _ = lseek(disk.descriptor, 0, Self.seekHole)
      #expect(try ExternalProgram("stat").run("\(chain.mountpoint)/disk").succeeded)
    }
    // Refused where anybody, the process behind the mount too, has a file open in it.
    let outcome = try chain.run("umount", chain.mountpoint)
    #expect(outcome.succeeded, "\(outcome.output)")
  }

  /// An image of 8 MiB without any data.
  private func empty(_ format: String, in chain: MountedChain) throws -> String? {
    let name = "empty.\(format)"
    let made = try ExternalProgram("qemu-img").run("create", "-q", "-f", format, chain.directory.path(name), "8M")
    return made.succeeded ? name : nil
  }
}
