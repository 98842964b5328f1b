import BackingChain
import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

/// Images of QEMU's with bytes changed at random: whatever is said of them, nobody traps, hangs, or takes all memory.
@Suite(.timeLimit(.minutes(10))) struct DamageTests {
  enum Kind: String, CaseIterable {
    case plain, small, extended, old

    var options: String {
      switch self {
      case .plain: "cluster_size=64k"
      case .small: "cluster_size=512,refcount_bits=64"
      case .extended: "cluster_size=16k,extended_l2=on,compression_type=zstd"
      case .old: "cluster_size=4k,compat=0.10"
      }
    }
  }

  /// An image with all that can be in one: compressed clusters, zeros, a snapshot, bitmaps, a name.
  private func make(_ kind: Kind) throws -> [UInt8] {
    let directory = try TemporaryDirectory()
    let image = directory.path("disk.qcow2")
    try Qemu.img(
      "create", "-q", "-f", "qcow2", "-o", kind.options, "-u", "-b", "base.raw", "-F", "raw", on: image, and: "1M")
    let pattern = try directory.file("pattern", Array(1...97))
    _ = try directory.file("base.raw", [UInt8](repeating: 3, count: 1 << 20))
    try Qemu.io(image, ["write -q -c -s \(pattern) 0 64k", "write -q -P 5 64k 128k", "write -q -z 256k 64k"])
    try Qemu.img("snapshot", "-q", "-c", "s1", on: image)
    if kind != .old { try Qemu.img("bitmap", "--add", on: image, and: "b1") }
    try Qemu.io(image, ["write -q -P 6 96k 64k"])
    return [UInt8](try Data(contentsOf: URL(filePath: image)))
  }

  private func damaged(_ bytes: [UInt8], using random: inout SeededRandom) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      // Metadata lies in front, but for what a snapshot adds.
      let end = random.oneIn(2) ? 600 : random.oneIn(2) ? bytes.count / 3 : bytes.count
      let place = Int.random(in: 0..<end - 8, using: &random)
      let words: [UInt64] = [
        0, .max, 1 << 63, 1 << 62, UInt64(bytes.count), 512, 1 << 9, 0x7FFF_FFFF_FFFF_FFFF, random.next(),
      ]
      let word = words.randomElement(using: &random) ?? 0
      let width = [1, 1, 4, 8].randomElement(using: &random) ?? 1
      for index in 0..<width {
        bytes[place / width * width + index] = UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * index))
      }
    }
    if random.oneIn(10) { bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random)) }
    return bytes
  }

  @Test(arguments: Kind.allCases) func anyDamageIsAnAnswerOrAnError(_ kind: Kind) throws {
    let whole = try make(kind)
    var opened = 0
    for seed in 0..<(TestRun.isFull ? 3000 : 150) as Range<UInt64> {
      var random = SeededRandom(seed: seed)
      let bytes = damaged(whole, using: &random)
      if (try? use(bytes, using: &random)) != nil { opened += 1 }
    }
    #expect(opened > 10, "no damage is survived")
  }

  /// Reads, checks, writes and repairs, as far as it goes.
  private func use(_ bytes: [UInt8], using random: inout SeededRandom) throws {
    let storage = MemoryStorage(bytes)
    let header = try Qcow2Header.read(from: storage)
    try #require(!header.usesDataFile)
    _ = try? Qcow2Check.run(on: header, in: storage)
    let image = try Qcow2Image(
      header: header, storage: storage, dataStorage: nil, budget: TableBudget(limit: ByteCount(1 << 20)))
    let reader = BackingChain(layers: [Layer(image: image, path: "disk", opened: storage.status())], active: nil)
    for _ in 0..<20 {
      let range = random.range(below: max(1, min(header.virtualSize.bytes, 1 << 20)), longest: 30_000)
      _ = try? [UInt8](capacity: range.count) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
        try reader.read(GuestRange(range), into: &output)
      }
    }
    let active = try Qcow2ActiveImage(
      header: header, storage: storage, dataStorage: nil, options: .init(dropsBitmaps: true))
    let chain = BackingChain(
      layers: [Layer(image: active, path: "disk", opened: storage.status())], active: active)
    for _ in 0..<10 where header.virtualSize.bytes > 0 {
      let range = random.range(below: min(header.virtualSize.bytes, 1 << 20), longest: 30_000)
      try? chain.write(random.bytes(count: range.count).span, at: GuestOffset(range.lowerBound))
      try? chain.zero(
        GuestRange(random.range(below: min(header.virtualSize.bytes, 1 << 20), longest: 90_000)), reserving: false)
    }
    try? chain.check(backing: nil)
    try? chain.complete(recording: nil, keeping: nil)
    try? chain.close()
    _ = try? Qcow2Check.repair(.read(from: storage), in: storage)
  }
}
