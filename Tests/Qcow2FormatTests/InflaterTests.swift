import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

/// Compressed clusters whose streams yield more or less than a cluster, or go wrong somewhere: they read as in QEMU.
@Suite struct InflaterTests {
  static let cluster = 65536
  /// Blocks of deflate that yield 64 KiB of "z", with more to come.
  private static let zeds =
    [236, 193, 1, 1, 0, 0, 0, 128, 144, 223, 173, 239, 8, 10] + [UInt8](repeating: 0, count: 63) + [
      106, 0, 0, 0, 255, 255,
    ]
  private static let end: [UInt8] = [3, 0]
  /// A block of a type that does not exist.
  private static let nonsense = [UInt8](repeating: 0xFF, count: 64)
  private static let oneLess =
    [237] + zeds[1..<14] + [UInt8](repeating: 0, count: 63) + [26]

  /// A zstd frame of "z", which says how many it yields.
  private static func frame(_ count: Int) -> [UInt8] {
    let size = UInt16(count - 256)
    let length: [UInt8] =
      switch count {
      case 65536: [85, 0, 0, 16, 122, 122, 1, 0, 251, 127, 29, 96, 1]
      case 65537: [85, 0, 0, 16, 122, 122, 1, 0, 252, 127, 29, 96, 1]
      case 65535: [85, 0, 0, 16, 122, 122, 1, 0, 250, 127, 29, 96, 1]
      default: [77, 0, 0, 16, 122, 122, 1, 0, 251, 255, 14, 176]
      }
    return [40, 181, 47, 253, 96, UInt8(truncatingIfNeeded: size), UInt8(size >> 8)] + length
  }

  private func inflate(_ stream: [UInt8], zstd: Bool = false, cutTo size: Int? = nil) throws -> [UInt8] {
    var storage = MemoryStorage()
    try Qcow2Creation(virtualSize: ByteCount(1 << 20)).write(to: storage)
    if zstd {
      try storage.write([0, 0, 0, 0, 0, 0, 0, 8], at: 72)
      try storage.write([1], at: 104)
    }
    let start = 1 << 20
    try storage.write(stream + [UInt8](repeating: 0, count: 512), at: start)
    if let size {
      var content = storage.content
      content.resize(to: start + size)
      storage = MemoryStorage(content)
    }
    let inflater = Inflater(header: try Qcow2Header.read(from: storage), storage: storage)
    let sectors = (stream.count + 511) / 512
    return try inflater.inflate(CompressedCluster(at: HostOffset(start), size: ByteCount(sectors * 512)))
  }

  static let whole: [(name: String, stream: [UInt8])] = [
    ("exactly a cluster", zeds + end), ("twice as much", zeds + zeds + end),
    ("that goes on in nonsense", zeds + zeds + nonsense),
    ("that breaks off behind it", zeds + zeds.prefix(20)),
    ("a bomb of 64 MiB", [[UInt8]](repeating: zeds, count: 1024).flatMap { $0 }),
  ]

  @Test(arguments: whole)
  func aDeflateStreamLongerThanItsClusterIsServedAsFarAsTheClusterGoes(name: String, stream: [UInt8]) throws {
    #expect(try inflate(stream) == [UInt8](repeating: 122, count: Self.cluster))
  }

  static let broken: [(name: String, stream: [UInt8])] = [
    ("a byte less than a cluster", oneLess), ("nothing", end), ("nonsense", nonsense),
    ("nonsense where it should end", zeds + nonsense),
  ]

  @Test(arguments: broken) func aDeflateStreamThatYieldsNoClusterIsAnError(name: String, stream: [UInt8]) {
    #expect(throws: ImageError.self) { _ = try inflate(stream) }
  }

  @Test(arguments: [0, 1, 40]) func aStreamThatTheFileHasLostIsAnError(left: Int) {
    #expect(throws: ImageError.self) { _ = try inflate(Self.zeds + Self.end, cutTo: left) }
    #expect(throws: ImageError.self) { _ = try inflate(Self.frame(Self.cluster), zstd: true, cutTo: left / 4) }
  }

  @Test func theLastStreamMayEndWithTheFile() throws {
    let stream = Self.zeds + Self.end
    #expect(try inflate(stream, cutTo: stream.count) == [UInt8](repeating: 122, count: Self.cluster))
  }

  @Test func zstdFramesAreServedWhereTheyYieldExactlyACluster() throws {
    let (whole, half) = (Self.frame(Self.cluster), Self.frame(Self.cluster / 2))
    for stream in [whole, half + half, whole + Self.nonsense] {
      #expect(try inflate(stream, zstd: true) == [UInt8](repeating: 122, count: Self.cluster))
    }
    for stream in [Self.frame(Self.cluster + 1), half + whole, Self.frame(Self.cluster - 1), half, Self.nonsense] {
      #expect(throws: ImageError.self) { _ = try inflate(stream, zstd: true) }
    }
  }
}
