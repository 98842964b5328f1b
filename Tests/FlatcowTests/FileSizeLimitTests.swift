import Foundation
import Glibc
import TestSupport
import Testing

@testable import flatcow

/// The process behind a mount may not let a file grow any further (`ulimit -f`, LimitFSIZE=).
@Suite(
  .enabled(if: MountedChain.isPossible, "/dev/fuse cannot be opened: `make deps` as root"), .timeLimit(.minutes(5)))
struct FileSizeLimitTests {
  /// How the guest writes, and how it is told.
  struct Case: CustomTestStringConvertible, Sendable {
    let image: String
    let cache: String
    let isDirect: Bool

    var testDescription: String { "\(image) cache=\(cache) \(isDirect ? "direct" : "buffered")" }
    /// Pages that the kernel took are written later, and dropped when that fails.
    var isWrittenBack: Bool { cache == "writeback" && !isDirect }

    static let all = ["limited.qcow2", "limited.raw"].flatMap { image in
      ["writeback", "none"].flatMap { cache in
        [false, true].map { Case(image: image, cache: cache, isDirect: $0) }
      }
    }
  }

  private static let limit = 4 << 20
  private static let oDirect: Int32 = 0o40000
  private let chain: MountedChain

  init() throws { chain = try MountedChain() }

  private func mount(_ test: Case) throws -> Int32 {
    let images = """
      qemu-img create -q -f qcow2 limited.qcow2 64M && truncate -s 64M limited.raw && ulimit -S -f \(Self.limit / 1024) &&
      exec "$0" mount -o stream=off,min-free=0,no-space-timeout=1,cache=\(test.cache) --pid-file pid \(test.image) mnt
      """
    let mounted = try ExternalProgram("bash").run("-c", images, CommandLineTests.flatcow.name, in: chain.directory.url)
    try #require(mounted.succeeded, "\(mounted.output)")
    return try chain.daemon
  }

  /// Writes a MiB and syncs it. The error of either.
  private func write(_ mebibyte: Int, _ test: Case) -> HostError? {
    do throws(HostError) {
      let disk = try HostFile("\(chain.mountpoint)/disk", O_RDWR | (test.isDirect ? Self.oDirect : 0))
      try disk.write([UInt8](repeating: 0x41, count: 1 << 20), at: mebibyte << 20)
      try HostError.check(fsync(disk.descriptor))
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: Case.all)
  func whoWritesPastTheLimitIsToldAndTheMountGoesOn(_ test: Case) throws {
    let daemon = try mount(test)
    #expect(write(1, test) == nil)
    let errors = (8..<16).map { write($0, test) }
    // Of a qcow2 image it depends on what is allocated already.
    let firstError = try #require(errors.firstIndex { $0 != nil })
    #expect(errors[firstError] == HostError(EFBIG), "\(errors)")
    #expect(!errors[firstError...].contains(nil), "\(errors)")
    if !test.isWrittenBack { #expect(Set(errors[firstError...].map { $0?.code }) == [EFBIG]) }

    #expect(try HostFile("\(chain.mountpoint)/disk", O_RDONLY).read(2, at: 1 << 20) == [0x41, 0x41])
    #expect(try chain.text("status.json").contains("\"durability\": \"\(test.isWrittenBack ? "lost" : "ok")\""))
    if !test.isWrittenBack { #expect(write(1, test) == nil) }
    let ended = try chain.run("umount", chain.mountpoint)
    #expect(ended.status == (test.isWrittenBack ? 3 : 0), "\(ended.output)")
    #expect(hasEnded(daemon))
  }
}
