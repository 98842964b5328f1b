import BackingChain
import Foundation
import HostStorage
import ImageFormat
import TestSupport
import Testing

/// What streaming must and must not do, where QEMU's own block-stream goes wrong or nearly did.
@Suite(.timeLimit(.minutes(5))) struct StreamingTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private func make(
    _ name: String, size: String, over backing: String? = nil, options: String = "cluster_size=64k",
    _ commands: String...
  ) throws -> String {
    let path = directory.path(name)
    let below = backing.map { ["-b", $0, "-F", $0.hasSuffix("raw") ? "raw" : "qcow2"] } ?? []
    try Qemu.img(["create", "-q", "-f", "qcow2", "-o", options] + below, on: path, and: [size])
    try Qemu.io(path, commands)
    return path
  }

  private func makeRaw(_ name: String, size: String, _ commands: String...) throws {
    try Qemu.img("create", "-q", "-f", "raw", on: directory.path(name), and: size)
    try Qemu.io(directory.path(name), format: "raw", commands)
  }

  /// Streams to the layer of that number, completes, closes; the guest's bytes stay what QEMU read at first.
  private func stream(_ top: String, keeping kept: Int?, late: Bool = false) throws {
    var disk = try CheckedDisk(top, options: ChainOptions(), model: Qemu.bytes(of: top), seed: 1)
    let base = kept.map { disk.layers[$0] }
    let name = base.map { RecordedBacking(name: Array($0.path.utf8), format: $0.image.format) }
    if late { try disk.stream(above: nil, disturbedBy: 0, clusterSize: 1) }
    try disk.stream(above: base, disturbedBy: 0, clusterSize: 1)
    try disk.expectModel("streamed")
    try disk.chain.complete(recording: name, keeping: base)
    try disk.expectModel("completed")
    try disk.chain.close()
    try Qemu.expect(top, reads: disk.model)
    try Qemu.expectClean(top)
    #expect(try Qemu.info(top).backing == base?.path)
  }

  @Test(arguments: [false, true])
  func aShortImageBelowTheTopGoesOnHidingTheBaseBehindIt(late: Bool) throws {
    try makeRaw("base.raw", size: "8M", "write -q -P 17 0 8M")
    _ = try make("mid.qcow2", size: "4M", over: "base.raw")
    let top = try make("top.qcow2", size: "8M", over: "mid.qcow2")
    try stream(top, keeping: 2, late: late)
    try Qemu.io(top, ["read -q -P 17 0 4M", "read -q -P 0 4M 4M"])
  }

  @Test(arguments: [false, true])
  func zerosBetweenTheTopAndTheBaseGoOnHidingTheBase(late: Bool) throws {
    try makeRaw("base.raw", size: "2M", "write -q -P 17 0 2M")
    _ = try make("mid.qcow2", size: "2M", over: "base.raw", "write -q -z 64k 256k")
    let top = try make("top.qcow2", size: "2M", over: "mid.qcow2", options: "compat=0.10,cluster_size=16k")
    try stream(top, keeping: 2, late: late)
  }

  @Test func aTwoMebibyteClusterThatBeginsWithZerosKeepsItsSecondHalf() throws {
    try makeRaw("base.raw", size: "4M", "write -q -P 17 0 4M")
    _ = try make("mid.qcow2", size: "4M", over: "base.raw", "write -q -z 0 1M", "write -q -P 18 1M 1M")
    let top = try make("top.qcow2", size: "4M", over: "mid.qcow2", options: "cluster_size=2M")
    try stream(top, keeping: 2)
  }

  @Test func aTwoMebibyteClusterWhoseFirstHalfIsWrittenZerosKeepsItsSecondHalf() throws {
    try makeRaw("base.raw", size: "4M", "write -q -P 0 0 1M", "write -q -P 18 1M 1M")
    let top = try make("top.qcow2", size: "4M", over: "base.raw", options: "cluster_size=2M")
    try stream(top, keeping: nil)
  }

  @Test func sixtyFourKibibytesInAHoleTakeOneCluster() throws {
    try makeRaw("base.raw", size: "2M", "write -q -P 17 640k 64k")
    let top = try make("top.qcow2", size: "2M", over: "base.raw")
    try stream(top, keeping: nil)
    #expect(try Qemu.allocatedClusters(top) == 1)
  }

  @Test func anImageOfSmallClustersInTheMiddleDoesNotMakeTheKeptBaseBeCopied() throws {
    try makeRaw("base.raw", size: "4M", "write -q -P 17 0 4M")
    _ = try make("mid.qcow2", size: "4M", over: "base.raw", options: "cluster_size=512", "write -q -P 18 1M 64k")
    let top = try make("top.qcow2", size: "4M", over: "mid.qcow2")
    try stream(top, keeping: 2)
    #expect(try Qemu.allocatedClusters(top) == 1)
  }

  @Test func aChainOfSeventeenBackingImagesIsFlattened() throws {
    try makeRaw("16.raw", size: "1M", "write -q -P 116 0 1M")
    for level in stride(from: 15, through: 0, by: -1) {
      _ = try make(
        "\(level).qcow2", size: "1M", over: level == 15 ? "16.raw" : "\(level + 1).qcow2",
        "write -q -P \(level + 100) \(level * 64)k 40k")
    }
    try stream(directory.path("0.qcow2"), keeping: nil)
  }

  @Test func aSnapshotThatNeedsTheBackingFileIsNotDestroyed() throws {
    try makeRaw("base.raw", size: "1M", "write -q -P 17 0 1M")
    let top = try make("top.qcow2", size: "1M", over: "base.raw")
    try Qemu.img("snapshot", "-q", "-c", "s1", on: top)
    let disk = try CheckedDisk(top, options: ChainOptions(), model: [], seed: 1)
    let error = #expect(throws: ChainError.self) { try disk.chain.check(backing: nil) }
    #expect(error?.code == .snapshotsNeedBacking)
    #expect(error?.message.contains("qemu-img snapshot -d") == true)
    try disk.chain.close()
    try Qemu.img("snapshot", "-q", "-a", "s1", on: top)
    try Qemu.expect(top, reads: [UInt8](repeating: 17, count: 1 << 20))
  }

  @Test func aSnapshotThatClaimsTheLargestDiskIsDamage() throws {
    try makeRaw("base.raw", size: "1M", "write -q -P 17 0 1M")
    let top = try make("top.qcow2", size: "1M", over: "base.raw")
    try Qemu.img("snapshot", "-q", "-c", "s1", on: top)
    var bytes = try Data(contentsOf: URL(filePath: top))
    // The first snapshot's extra data follows 40 bytes; the disk's size is its second half.
    let size = bytes[64..<72].reduce(0) { $0 << 8 | Int($1) } + 48
    bytes.replaceSubrange(size..<(size + 8), with: [0x7F] + [UInt8](repeating: 0xFF, count: 7))
    try bytes.write(to: URL(filePath: top))
    #expect(throws: ChainError.self) {
      try CheckedDisk(top, options: ChainOptions(), model: [], seed: 1).chain.check(backing: nil)
    }
  }

  /// A virtual machine's state lies behind the end of the disk.
  @Test func clustersAndMachineStateThatASnapshotSharesStayAsTheyWere() throws {
    let top = try make(
      "top.qcow2", size: "1M", "write -q -P 17 0 512k", "write -q -z 512k 128k", "write -q -b -P 9 0 128k")
    try Qemu.img("snapshot", "-q", "-c", "s1", on: top)
    let snapshot = try Qemu.bytes(of: top)
    var disk = try CheckedDisk(top, options: ChainOptions(), model: snapshot, seed: 5)
    try disk.change(times: 60, clusterSize: 64 << 10)
    try disk.expectModel("written")
    try disk.chain.close()
    try Qemu.expect(top, reads: disk.model)
    try Qemu.img("snapshot", "-q", "-a", "s1", on: top)
    try Qemu.expect(top, reads: snapshot)
    try Qemu.io(top, ["read -q -b -P 9 0 128k"])
    try Qemu.img("snapshot", "-q", "-d", "s1", on: top)
    try Qemu.expectClean(top)
  }

  @Test func discardedSpaceGoesBackToTheHost() throws {
    let top = try make("top.qcow2", size: "16M", "write -q -P 17 0 16M")
    var disk = try CheckedDisk(top, options: ChainOptions(), model: Qemu.bytes(of: top), seed: 1)
    let storage = disk.layers[0].image.storage
    let before = try storage.status().allocated
    try disk.zero(1 << 20..<15 << 20, reserving: false)
    try disk.chain.flush()
    #expect(try storage.status().allocated.bytes < before.bytes - (13 << 20))
    try disk.chain.close()
    try Qemu.expectClean(top)
    try Qemu.expect(top, reads: disk.model)
  }

  @Test(arguments: [false, true]) func threadsThatShareClustersLoseNothing(hasExtendedL2: Bool) async throws {
    try makeRaw("base.raw", size: "4M", "write -q -P 17 0 4M")
    let options = "cluster_size=64k,extended_l2=\(hasExtendedL2 ? "on" : "off")"
    let top = try make("top.qcow2", size: "4M", over: "base.raw", options: options)
    let disk = try CheckedDisk(top, options: ChainOptions(), model: Qemu.bytes(of: top), seed: 1)
    let chain = disk.chain
    var model = disk.model
    // Each writer has every fourth 4 KiB block.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          for block in stride(from: writer, to: 1024, by: 4) where block % 3 != 0 {
            try chain.write([UInt8](repeating: UInt8(40 + writer), count: 4096).span, at: GuestOffset(block * 4096))
            if block % 128 == writer { try chain.flush() }
          }
        }
      }
      group.addTask {
        var position = GuestOffset(0)
        while let range = try chain.nextUnpopulated(from: position, above: nil) {
          _ = try chain.populate(range, above: nil)
          position = range.end
        }
      }
      try await group.waitForAll()
    }
    for block in 0..<1024 where block % 3 != 0 {
      let bytes = [UInt8](repeating: UInt8(40 + block % 4), count: 4096)
      model.replaceSubrange(block * 4096..<(block + 1) * 4096, with: bytes)
    }
    try chain.close()
    try Qemu.expectClean(top)
    try Qemu.expect(top, reads: model)
  }
}
