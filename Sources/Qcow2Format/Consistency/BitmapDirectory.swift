import HostStorage
import ImageFormat

extension Qcow2Header {
  /// All host ranges that the persistent dirty bitmaps take: directory, tables, data (specification, "Bitmaps").
  func bitmapRanges(in storage: any Storage) throws(ImageError) -> [HostRange] {
    func corrupt() -> ImageError { ImageError(.corrupt, path: storage.path, reason: "its bitmap directory is damaged") }
    guard let data = extensions.first(where: { $0.kind == HeaderExtension.Kind.bitmaps })?.data, data.count >= 24 else {
      throw corrupt()
    }
    let count = Int(BigEndian.load(UInt32.self, from: data.span, at: 0))
    guard let size = Int(exactly: BigEndian.load(UInt64.self, from: data.span, at: 8)), size <= Limit.l1Bytes,
      let start = clusterOffset(BigEndian.load(UInt64.self, from: data.span, at: 16))
    else { throw corrupt() }
    let directory = try read(size, at: start, from: storage)
    guard directory.count == size else { throw corrupt() }
    var ranges = [HostRange(at: start, count: ByteCount(size))]
    var position = 0
    for _ in 0..<count {
      guard position + 24 <= size,
        let table = clusterOffset(BigEndian.load(UInt64.self, from: directory.span, at: position))
      else { throw corrupt() }
      let entries = Int(BigEndian.load(UInt32.self, from: directory.span, at: position + 8))
      let nameLength = Int(BigEndian.load(UInt16.self, from: directory.span, at: position + 18))
      let extraLength = Int(BigEndian.load(UInt32.self, from: directory.span, at: position + 20))
      guard entries <= Limit.l1Bytes / 8, extraLength <= size else { throw corrupt() }
      ranges.append(HostRange(at: table, count: ByteCount(entries * 8)))
      let words = try words(entries, at: table, from: storage)
      guard words.count == entries else { throw corrupt() }
      for entry in words where entry & L2Entry.Bits.offset != 0 {
        guard let offset = clusterOffset(entry & L2Entry.Bits.offset) else { throw corrupt() }
        ranges.append(HostRange(at: offset, count: clusterSize))
      }
      position += (24 + extraLength + nameLength + 7) / 8 * 8
    }
    return ranges
  }
}
