import BackingChain
import CWrites
import DiskExport
import Foundation
import HostStorage
import RawFormat
import TestSupport
import Testing

/// A sync flag on a file or on a request is a sync, in whatever way the write comes.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct SyncFlagTests {
  /// Where a program says that its write shall be durable.
  enum Flag: CaseIterable { case none, dsyncFile, syncFile, dsyncCall, syncCall }
  enum Way: CaseIterable { case pwritev2, libaio, uring }

  let storage = MemoryStorage([UInt8](repeating: 7, count: 1 << 20))

  private func mounted(cached: Bool) throws -> TestMount {
    let image = try RawImage(storage)
    let chain = BackingChain(
      layers: [Layer(image: image, path: "memory", opened: storage.status())], active: image)
    return try TestMount(chain, source: "memory") { $0.cachesPages = cached }
  }

  /// Opens `disk` and writes its first 4 KiB once. Returns the answer; nil where this kernel has no such way.
  private func write(_ mount: TestMount, _ flag: Flag, direct: Bool, _ way: Way) throws -> Int? {
    let ofFile: Int32 = flag == .dsyncFile ? O_DSYNC : flag == .syncFile ? O_SYNC : 0
    let ofCall: Int32 = flag == .dsyncCall ? FLATCOW_RWF_DSYNC : flag == .syncCall ? FLATCOW_RWF_SYNC : 0
    let disk = try HostFile(mount.path("disk"), O_RDWR | ofFile | (direct ? OpenFlag.direct : 0))
    let page = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
    defer { unsafe page.deallocate() }
    unsafe page.initializeMemory(as: UInt8.self, repeating: 0x41)
    storage.forgetLog()
    let bytes = page.baseAddress
    let result =
      switch way {
      case .pwritev2: unsafe flatcow_pwritev2(disk.descriptor, bytes, 4096, 0, ofCall)
      case .libaio: unsafe flatcow_aio_write(disk.descriptor, bytes, 4096, 0, ofCall)
      case .uring: unsafe flatcow_uring_write(disk.descriptor, bytes, 4096, 0, ofCall)
      }
    // Closing the file would sync, too.
    seen.log = storage.log
    return result
  }

  /// The storage's log when the last write was answered.
  private final class Seen {
    var log: [StorageOperation] = []
  }
  private let seen = Seen()

  /// Whether all that was written was durable then.
  private var isDurable: Bool {
    guard let write = seen.log.lastIndex(where: { !$0.range.isEmpty }) else { return false }
    return seen.log[write...].contains(.sync)
  }

  static let ways = Way.allCases.filter { $0 != .uring || flatcow_has_uring() != 0 }

  @Test func ioUringIsTriedHere() {
    if flatcow_has_uring() == 0 { print("skipped: this kernel has no io_uring for this process") }
  }

  @Test(arguments: [true, false], Flag.allCases)
  func aWriteWithASyncFlagIsDurableWhenItIsAnswered(cached: Bool, _ flag: Flag) throws {
    let mount = try mounted(cached: cached)
    for way in Self.ways {
      for direct in [true, false] {
        #expect(try write(mount, flag, direct: direct, way) == 4096, "\(way), direct: \(direct)")
        #expect(flag == .none || isDurable, "\(way), direct: \(direct)")
      }
    }
  }

  /// What the other test sees comes from the flags. A sync may come by chance: of another test that starts a process.
  @Test(arguments: [true, false]) func aWriteWithoutOneNeedNotBe(cached: Bool) throws {
    let mount = try mounted(cached: cached)
    for way in Self.ways {
      for direct in [true, false] {
        let isUnsynced = try (0..<20).contains { _ in
          _ = try write(mount, .none, direct: direct, way)
          return !isDurable
        }
        #expect(isUnsynced, "\(way), direct: \(direct)")
      }
    }
  }

  @Test(arguments: [true, false]) func suchAWriteFailsWithItsSync(cached: Bool) throws {
    for flag in Flag.allCases where flag != .none {
      for way in Self.ways {
        for direct in [true, false] {
          let fresh = SyncFlagTests()
          let mount = try fresh.mounted(cached: cached)
          fresh.storage.setFaults(FaultPlan([.sync], nth: 1))
          let result = try fresh.write(mount, flag, direct: direct, way)
          #expect(result == -Int(EIO), "\(flag), \(way), direct: \(direct)")
        }
      }
    }
  }

  @Test(arguments: [true, false], [O_DSYNC, O_SYNC])
  func zeroingByASynchronousFileIsDurableWhenItReturns(cached: Bool, _ flag: Int32) throws {
    let mount = try mounted(cached: cached)
    let disk = try HostFile(mount.path("disk"), O_RDWR | flag)
    for mode: Int32 in [0x03, 0x10, 0x11] {
      storage.forgetLog()
      try HostError.check(Int32(clamping: flatcow_fallocate(disk.descriptor, mode, 4096, 4096)))
      seen.log = storage.log
      #expect(isDurable, "mode \(mode)")
    }
  }
}

enum OpenFlag {
  /// O_DIRECT, which Glibc's module leaves out.
  #if arch(arm64) || arch(arm)
    static let direct: Int32 = 0o200000
  #else
    static let direct: Int32 = 0o40000
  #endif
}
