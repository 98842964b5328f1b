import HostStorage
import ImageFormat

/// A persistent dirty bitmap, as the directory tells of it (specification, "Bitmap directory").
private struct BitmapEntry {
  static let headLength = 24
  static let longestName = 1023
  /// QEMU's limit of what a bitmap takes.
  static let largest = 512 << 20
  static let inUseAndAuto: UInt32 = 3

  let table: HostRange
  /// The whole entry.
  let length: Int

  /// The entry at `position`; nil where it breaks a rule.
  init?(in directory: [UInt8], at position: Int, of header: Qcow2Header) {
    guard position + Self.headLength <= directory.count else { return nil }
    func field<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type, _ place: Int) -> Value {
      BigEndian.load(type, from: directory.span, at: position + place)
    }
    let entries = Int(field(UInt32.self, 8))
    let nameLength = Int(field(UInt16.self, 18))
    guard let start = header.clusterOffset(field(UInt64.self, 0)), entries > 0,
      entries <= Self.largest >> header.clusterBits, field(UInt32.self, 12) & ~Self.inUseAndAuto == 0,
      directory[position + 16] == 1, (9...31).contains(directory[position + 17]),
      (1...Self.longestName).contains(nameLength), field(UInt32.self, 20) == 0
    else { return nil }
    table = HostRange(at: start, count: ByteCount(entries * 8))
    length = (Self.headLength + nameLength + 7) / 8 * 8
    guard position + length <= directory.count else { return nil }
  }
}

extension ImageSurvey {
  /// Claims all that the persistent dirty bitmaps take: directory, tables, data (specification, "Bitmaps").
  mutating func claimBitmaps() throws(ImageError) {
    let found = header.extensions.first { $0.kind == HeaderExtension.Kind.bitmaps }
    guard let data = found?.data, data.count >= 24,
      let size = Int(exactly: BigEndian.load(UInt64.self, from: data.span, at: 8)), size <= Qcow2Header.Limit.l1Bytes,
      let start = header.clusterOffset(BigEndian.load(UInt64.self, from: data.span, at: 16))
    else { return report.add(.brokenTable, "its bitmap directory is not where one can be") }
    let place = HostRange(at: start, count: ByteCount(size))
    guard claimBitmapPart(place, as: .bitmapDirectory) else { return }
    let directory = try header.read(size, at: start, from: storage)
    var position = 0
    for number in 0..<Int(BigEndian.load(UInt32.self, from: data.span, at: 0)) {
      guard let entry = BitmapEntry(in: directory, at: position, of: header) else {
        return report.add(.brokenTable, "entry \(number) of its bitmap directory breaks the rules")
      }
      position += entry.length
      if claimBitmapPart(entry.table, as: .bitmapTable) { try claimBitmapData(entry.table) }
    }
    if position != size { report.add(.brokenTable, "its bitmap directory has more entries than the header says") }
  }

  private mutating func claimBitmapData(_ table: HostRange) throws(ImageError) {
    for entry in try words(table.count.bytes / 8, at: table.start) {
      let place = entry & L2Entry.Bits.offset
      let reserved: UInt64 = 0xFF00_0000_0000_01FE | (place == 0 ? 0 : 1)
      guard entry & reserved == 0, place == 0 || header.clusterOffset(place) != nil else {
        report.add(.brokenTable, "an entry of a bitmap's table breaks the rules")
        continue
      }
      if let start = header.clusterOffset(place) {
        claimBitmapPart(HostRange(at: start, count: header.clusterSize), as: .bitmapData)
      }
    }
  }

  @discardableResult
  private mutating func claimBitmapPart(_ range: HostRange, as kind: MetadataKind) -> Bool {
    bitmapRanges.append(range)
    return claim(range, as: kind)
  }
}
