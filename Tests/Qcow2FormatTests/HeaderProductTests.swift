import Foundation
import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import Qcow2Format

/// Every header that can be switched: what is written parses back to what was asked, by a reader that knows the specification
/// and nothing of flatcow.
@Suite(.timeLimit(.minutes(5))) struct HeaderProductTests {
  /// A header as somebody made it.
  struct Old: CustomStringConvertible {
    var clusterSize: Int
    var headerLength: Int
    /// Bytes of data in an unknown extension; nil: there is none.
    var filling: Int?
    var hasFeatureNames: Bool
    var hasEndMarker: Bool
    /// How far behind the extensions the name begins; nil: there is no backing file.
    var gap: Int?

    var version: Int { headerLength == 72 ? 2 : 3 }
    var description: String {
      "v\(version) clusters \(clusterSize) header \(headerLength) filling \(filling ?? -1) names \(hasFeatureNames) "
        + "marker \(hasEndMarker) gap \(gap ?? -1)"
    }

    static let name = Array("old-base.raw".utf8)

    static let all: [Old] = [512, 1024, 4096, 65536].flatMap { cluster in
      [72, 104, 112, 120, 256].flatMap { header in
        [nil, 0, 1, 100, 250, 320, 344, 376, 384, 392, 600].flatMap { filling in
          [false, true].flatMap { names in
            [false, true].flatMap { marker in
              [nil, 0, 8, 600].map { gap in
                Old(
                  clusterSize: cluster, headerLength: header, filling: filling, hasFeatureNames: names,
                  hasEndMarker: marker, gap: gap)
              }
            }
          }
        }
      }
    }

    /// The first cluster; nil where it has no room for all of this.
    var cluster: [UInt8]? {
      var bytes = [UInt8](repeating: 0, count: headerLength)
      bytes.replaceSubrange(0..<4, with: Qcow2Header.magic)
      BigEndian.store(UInt32(version), into: &bytes, at: 4)
      BigEndian.store(UInt32(clusterSize.trailingZeroBitCount), into: &bytes, at: 20)
      BigEndian.store(1 << 16 as UInt64, into: &bytes, at: 24)
      BigEndian.store(128 as UInt32, into: &bytes, at: 36)
      BigEndian.store(UInt64(3 * clusterSize), into: &bytes, at: 40)
      BigEndian.store(UInt64(clusterSize), into: &bytes, at: 48)
      BigEndian.store(1 as UInt32, into: &bytes, at: 56)
      if version == 3 {
        BigEndian.store(4 as UInt32, into: &bytes, at: 96)
        BigEndian.store(UInt32(headerLength), into: &bytes, at: 100)
      }
      var extensions: [HeaderExtension] = []
      if gap != nil {
        extensions.append(.init(kind: HeaderExtension.Kind.backingFormat, data: Array("raw".utf8), position: 0))
      }
      if hasFeatureNames {
        extensions.append(
          .init(kind: HeaderExtension.Kind.featureNames, data: .init(repeating: 65, count: 96), position: 0))
      }
      // Its last bytes look like an end marker.
      if let filling {
        let data = [UInt8](repeating: 0x55, count: max(filling - 8, 0)) + [UInt8](repeating: 0, count: min(filling, 8))
        extensions.append(.init(kind: 0x1122_3344, data: data, position: 0))
      }
      for item in extensions { item.append(to: &bytes) }
      if hasEndMarker { bytes += [UInt8](repeating: 0, count: 8) }
      if let gap {
        // Without a marker the name has to follow at once.
        guard hasEndMarker || gap == 0 else { return nil }
        bytes += [UInt8](repeating: 0xEE, count: gap)
        BigEndian.store(UInt64(bytes.count), into: &bytes, at: 8)
        BigEndian.store(UInt32(Self.name.count), into: &bytes, at: 16)
        bytes += Self.name
      } else if !hasEndMarker, bytes.count != clusterSize {
        return nil
      }
      guard bytes.count <= clusterSize else { return nil }
      // What lies behind is somebody's garbage.
      return bytes + [UInt8](repeating: 0xAB, count: clusterSize - bytes.count)
    }
  }

  /// What a reader finds that goes by the specification, and refuses what QEMU refuses.
  struct Found: Equatable {
    var name: [UInt8]?
    var extensions: [UInt32: [UInt8]] = [:]
    var isMarked = false

    init?(_ bytes: [UInt8]) {
      func number(_ position: Int) -> Int { Int(BigEndian.load(UInt32.self, from: bytes.span, at: position)) }
      let start = number(4) == 2 ? 72 : number(100)
      let (place, length) = (number(12), number(16))
      if place > 0 {
        guard length > 0, length <= min(1023, bytes.count - place), place >= start else { return nil }
        name = Array(bytes[place..<place + length])
      }
      var position = start
      let end = place > 0 ? place : bytes.count
      while position < end, !isMarked {
        guard position + 8 <= end, number(position + 4) <= end - position - 8 else { return nil }
        let (kind, count) = (UInt32(number(position)), number(position + 4))
        isMarked = kind == 0
        if !isMarked { extensions[kind] = Array(bytes[position + 8..<position + 8 + count]) }
        position += 8 + (count + 7) / 8 * 8
      }
    }
  }

  static let names: [[UInt8]?] =
    [nil] + [1, 7, 8, 100, 200, 300, 383, 500, 1023].map { [UInt8](repeating: 110, count: $0) }

  @Test func whatIsWrittenParsesBackToWhatWasAsked() throws {
    var (tried, recorded) = (0, 0)
    for old in Old.all {
      guard let cluster = old.cluster, let before = Found(cluster) else { continue }
      let header = try Qcow2Header(firstCluster: cluster, fileSize: ByteCount(1 << 40))
      for name in Self.names {
        for format in name == nil ? ["raw"] : ["raw", "qcow2", "vmdk-like-thing"] {
          tried += 1
          let backing = name.map { RecordedBacking(name: $0, format: format) }
          guard let layout = try? header.layout(recording: backing) else { continue }
          recorded += 1
          #expect(Found(layout.applied(to: cluster, switched: false)) == before, "\(old) \(name?.count ?? 0)")
          let after = layout.applied(to: cluster)
          #expect(layout.sector.count == 512 && after.count == cluster.count)
          let found = try #require(Found(after), "\(old) \(name?.count ?? 0) \(format)")
          #expect(found.name == name && found.isMarked, "\(old) \(name?.count ?? 0) \(format)")
          if name != nil { #expect(found.extensions[HeaderExtension.Kind.backingFormat] == Array(format.utf8)) }
          #expect(found.extensions[0x1122_3344] == before.extensions[0x1122_3344], "\(old) \(name?.count ?? 0)")
          #expect(Array(after[20..<old.headerLength]) == Array(cluster[20..<old.headerLength]), "\(old)")
        }
      }
    }
    #expect(tried > 20_000 && recorded > tried / 4, "\(recorded) of \(tried)")
  }

  @Test func aSampleOfThemIsReadByQemu() throws {
    var random = SeededRandom(seed: 10)
    let directory = try TemporaryDirectory()
    var read = 0
    for old in Old.all.shuffled(using: &random) where read < 60 {
      guard let cluster = old.cluster else { continue }
      let header = try Qcow2Header(firstCluster: cluster, fileSize: ByteCount(1 << 40))
      guard let name = Self.names.dropFirst().randomElement(using: &random) ?? nil,
        let layout = try? header.layout(recording: RecordedBacking(name: name, format: "raw"))
      else { continue }
      var image = layout.applied(to: cluster) + [UInt8](repeating: 0, count: 5 * cluster.count)
      BigEndian.store(UInt64(2 * cluster.count), into: &image, at: cluster.count)
      for index in 0..<5 { image[2 * cluster.count + 2 * index + 1] = 1 }
      let info = try ExternalProgram("qemu-img").run(
        "info", "--output=json", try directory.file("t.qcow2", image))
      #expect(
        info.succeeded && info.output.contains("\"\(String(decoding: name, as: UTF8.self))\""), "\(old) \(info.output)")
      read += 1
    }
    #expect(read == 60)
  }

  @Test func anAreaThatIsFullHasNoEndMarker() throws {
    let full = Old(
      clusterSize: 4096, headerLength: 104, filling: 504, hasFeatureNames: false, hasEndMarker: false, gap: 0)
    var marked = full
    marked.hasEndMarker = true
    for (old, isMarked) in [(full, false), (marked, true)] {
      let cluster = try #require(old.cluster)
      let area = try Qcow2Header(firstCluster: cluster, fileSize: ByteCount(1 << 40)).extensionArea
      #expect(area.hasEndMarker == isMarked)
      #expect(area.end == 104 + 16 + 512 + (isMarked ? 8 : 0))
    }
  }

  @Test(arguments: ["much-too-long-format", "with space", "new\nline"])
  func aFormatThatNoReaderTakesIsNotWritten(format: String) throws {
    let old = Old(
      clusterSize: 4096, headerLength: 112, filling: nil, hasFeatureNames: false, hasEndMarker: true, gap: 0)
    let header = try Qcow2Header(firstCluster: #require(old.cluster), fileSize: ByteCount(1 << 40))
    #expect(throws: HeaderFault.self) { try header.layout(recording: RecordedBacking(name: [98], format: format)) }
  }
}
