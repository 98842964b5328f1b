/// A log of writes as the kernel's dm-log-writes and QEMU's blklogwrites driver keep it (`drivers/md/dm-log-writes.c`):
///
///     sector 0    magic, version 1, number of entries (64 bits each), sector size (32 bits)
///     then        for each entry a sector: start, length (in sectors), flags, length of a mark (64 bits each), the mark; and
///                 what was written, unless it is a discard
///
/// All numbers are little-endian. It is made for devices, which have no size: here a change of the size is a mark.
package enum WriteLog {
  static let sector = 512
  private static let magic: UInt64 = 0x6a_7366_7773_6872

  private enum Flag {
    static let flush: UInt64 = 1
    static let forcedUnitAccess: UInt64 = 2
    static let discard: UInt64 = 4
    static let mark: UInt64 = 8
  }

  package struct Malformed: Error { let offset: Int }

  /// The log of what was done to a storage that held `content`. Ragged ends are written as whole sectors.
  package static func encode(_ log: [StorageOperation], on content: SparseBytes) -> [UInt8] {
    var content = content
    var bytes = padded(words(magic, 1, UInt64(log.count), UInt64(sector)))
    for operation in log {
      operation.apply(to: &content)
      let range = operation.range
      let start = range.lowerBound / sector
      switch operation {
      case .sync: bytes += entry(flags: Flag.flush)
      case .resize(let size): bytes += entry(flags: Flag.mark, mark: "resize \(size)")
      case .reserve: bytes += entry(flags: Flag.mark, mark: "reserve \(range.lowerBound) \(range.upperBound)")
      case .punch where range.lowerBound % sector == 0 && range.upperBound % sector == 0:
        bytes += entry(start, range.count / sector, flags: Flag.discard)
      case .write, .zero, .punch:
        let end = (range.upperBound + sector - 1) / sector
        bytes += entry(start, end - start, flags: 0) + content.bytes(in: (start * sector)..<(end * sector))
      }
    }
    return bytes
  }

  /// The operations of a log, and for each where in the log it ends; up to the end of `bytes`, for the number of entries is
  /// written now and then only. What ends at one place belongs to one entry.
  package static func decode(_ bytes: [UInt8]) throws(Malformed) -> [(operation: StorageOperation, end: Int)] {
    // QEMU begins the log with the first write.
    if bytes.isEmpty { return [] }
    guard bytes.count >= sector, word(0, in: bytes, at: 0) == magic, word(1, in: bytes, at: 0) == 1 else {
      throw Malformed(offset: 0)
    }
    let size = Int(word(3, in: bytes, at: 0) & 0xFFFF_FFFF)
    guard size >= 32 else { throw Malformed(offset: 0) }
    var log: [(operation: StorageOperation, end: Int)] = []
    var offset = size
    while offset + size <= bytes.count {
      let (start, count) = (word(0, in: bytes, at: offset), word(1, in: bytes, at: offset))
      let (flags, markLength) = (word(2, in: bytes, at: offset), word(3, in: bytes, at: offset))
      guard let first = Int(exactly: start), let length = Int(exactly: count), first < 1 << 40, length < 1 << 40,
        markLength <= size - 32
      else { throw Malformed(offset: offset) }
      let data = offset + size
      let end = flags & Flag.discard == 0 ? data + length * size : data
      guard end <= bytes.count else { throw Malformed(offset: offset) }
      if flags & Flag.flush != 0 { log.append((.sync, end)) }
      if flags & Flag.discard != 0 {
        log.append((.punch((first * size)..<((first + length) * size)), end))
      } else if flags & Flag.mark != 0 {
        let mark = String(decoding: bytes[(offset + 32)..<(offset + 32 + Int(markLength))], as: UTF8.self)
        if let operation = change(of: mark) { log.append((operation, end)) }
      } else if length > 0 {
        log.append((.write(Array(bytes[data..<end]), at: first * size), end))
      }
      if flags & Flag.forcedUnitAccess != 0 { log.append((.sync, end)) }
      offset = end
    }
    return log
  }

  private static func change(of mark: String) -> StorageOperation? {
    let words = mark.split(separator: " ")
    let numbers = words.dropFirst().compactMap { Int($0) }
    return switch (words.first, numbers.count) {
    case ("resize", 1): .resize(to: numbers[0])
    case ("reserve", 2): .reserve(numbers[0]..<numbers[1])
    default: nil
    }
  }

  private static func entry(_ start: Int = 0, _ count: Int = 0, flags: UInt64, mark: String = "") -> [UInt8] {
    padded(words(UInt64(start), UInt64(count), flags, UInt64(mark.utf8.count)) + Array(mark.utf8))
  }

  private static func words(_ words: UInt64...) -> [UInt8] {
    words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
  }

  private static func word(_ index: Int, in bytes: [UInt8], at offset: Int) -> UInt64 {
    (0..<8).reduce(0) { $0 | UInt64(bytes[offset + index * 8 + $1]) << ($1 * 8) }
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + [UInt8](repeating: 0, count: sector - bytes.count)
  }
}
