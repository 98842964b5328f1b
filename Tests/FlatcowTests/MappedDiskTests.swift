import Foundation
import HostStorage
import TestSupport
import Testing

@testable import flatcow

/// A shared mapping of `disk`, by another process than the one that serves it.
@Suite(.enabled(if: MountedChain.isPossible, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct MappedDiskTests {
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

  @Test(arguments: ["qcow2", "raw"], [true, false])
  func whatAMappingHasChangedIsNoHole(_ format: String, isSynced: Bool) throws {
    let chain = try MountedChain()
    let top = try #require(try empty(format, in: chain))
    try #require(try chain.run("mount", "-o", "stream=off", "--pid-file", "pid", top, chain.mountpoint).succeeded)
    let disk = try HostFile("\(chain.mountpoint)/disk")
    let reader = try HostFile("\(chain.mountpoint)/disk", O_RDONLY)
    for (count, offset) in stride(from: 1 << 20, to: 4 << 20, by: 1 << 20).enumerated() {
      try change(disk, at: offset, sync: isSynced) {
        #expect(lseek(reader.descriptor, offset - 65536, Self.seekHole) == offset - 65536)
        let data = lseek(reader.descriptor, offset - 65536, Self.seekData)
        #expect(data >= offset - 65536 && data <= offset)
        #expect(lseek(reader.descriptor, offset, Self.seekData) == offset)
        var status = stat()
        #expect(unsafe fstat(reader.descriptor, &status) == 0)
        #expect(status.st_blocks >= 8 * (count + 1))
      }
    }
  }

  /// An image of 8 MiB without any data.
  private func empty(_ format: String, in chain: MountedChain) throws -> String? {
    let name = "empty.\(format)"
    let made = try ExternalProgram("qemu-img").run("create", "-q", "-f", format, chain.directory.path(name), "8M")
    return made.succeeded ? name : nil
  }
}
