package import HostStorage

/// The content of a file: pages that hold data, and holes that read as zeros. A copy shares its pages.
///
/// Bytes past `size` are zeros in every page, so that growing shows zeros.
package struct SparseBytes: Sendable {
  package static let pageSize = 4096

  package private(set) var size: Int
  private var pages: [Int: [UInt8]] = [:]
  /// Pages that have host space and no data.
  private var reserved: Set<Int> = []

  package init(size: Int = 0) { self.size = size }

  package init(_ bytes: [UInt8]) {
    self.init()
    write(bytes[...], at: 0)
  }

  /// Host space taken.
  package var allocated: Int { (pages.count + reserved.count) * Self.pageSize }

  /// The bytes of a range, which may reach past the end, where it reads zeros.
  package func bytes(in range: Range<Int>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(range.count)
    Self.forEachPart(of: range) { page, part in
      if let bytes = pages[page] {
        result.append(contentsOf: bytes[part])
      } else {
        result.append(contentsOf: repeatElement(0, count: part.count))
      }
    }
    return result
  }

  package var bytes: [UInt8] { bytes(in: 0..<size) }

  /// The same for the same bytes, whether zeros are holes or data; differs between runs of the process.
  package var contentHash: Int {
    pages.reduce(size.hashValue) { sum, page in
      if page.value.allSatisfy({ $0 == 0 }) { return sum }
      var hasher = Hasher()
      hasher.combine(page.key)
      unsafe page.value.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
      return sum ^ hasher.finalize()
    }
  }

  package mutating func write(_ bytes: ArraySlice<UInt8>, at offset: Int) {
    overlay(bytes, at: offset)
    if !bytes.isEmpty { size = max(size, offset + bytes.count) }
  }

  /// Changes bytes and not the size; what lies past it must be cut off with `resize` before anybody looks.
  mutating func overlay(_ bytes: ArraySlice<UInt8>, at offset: Int) {
    var next = bytes.startIndex
    Self.forEachPart(of: offset..<(offset + bytes.count)) { page, part in
      pages[page, default: [UInt8](repeating: 0, count: Self.pageSize)]
        .replaceSubrange(part, with: bytes[next..<(next + part.count)])
      reserved.remove(page)
      next += part.count
    }
  }

  /// Zeros with host space; grows the file to the range's end.
  package mutating func zero(_ range: Range<Int>) {
    clear(range)
    reserve(range)
  }

  /// Zeros without host space where whole pages are covered.
  package mutating func punch(_ range: Range<Int>) {
    clear(range)
    reserved = reserved.filter {
      $0 * Self.pageSize < range.lowerBound || ($0 + 1) * Self.pageSize > range.upperBound
    }
  }

  /// Takes host space; grows the file to the range's end.
  package mutating func reserve(_ range: Range<Int>) {
    if range.isEmpty { return }
    Self.forEachPart(of: range) { page, _ in
      if pages[page] == nil { reserved.insert(page) }
    }
    size = max(size, range.upperBound)
  }

  package mutating func resize(to newSize: Int) {
    clear(newSize..<Int.max)
    reserved = reserved.filter { $0 * Self.pageSize < newSize }
    size = newSize
  }

  /// What lies at `offset`, and up to where that goes on.
  package func extent(at offset: Int, limit: Int) -> StorageExtent {
    if offset >= size { return StorageExtent(.pastEnd, count: ByteCount(limit)) }
    let isHole = pages[offset / Self.pageSize] == nil
    var end = offset
    while end < size, end - offset < limit, (pages[end / Self.pageSize] == nil) == isHole {
      end = (end / Self.pageSize + 1) * Self.pageSize
    }
    return StorageExtent(isHole ? .hole : .data, count: ByteCount(min(limit, min(end, size) - offset)))
  }

  /// The host space that a change of `range` needs beyond what is there.
  package func missing(in range: Range<Int>) -> Int {
    var count = 0
    Self.forEachPart(of: range) { page, _ in
      if pages[page] == nil && !reserved.contains(page) { count += Self.pageSize }
    }
    return count
  }

  /// The first bytes of the units of `unit` bytes, a divisor of the page size, that overlap `range` and may hold data.
  func units(of unit: Int, in range: Range<Int>) -> [Int] {
    dataPages(in: range).flatMap { page in
      stride(from: page * Self.pageSize, to: (page + 1) * Self.pageSize, by: unit).filter {
        $0 < range.upperBound && $0 + unit > range.lowerBound
      }
    }
  }

  private func dataPages(in range: Range<Int>) -> [Int] {
    if range.isEmpty { return [] }
    let covering = (range.lowerBound / Self.pageSize)...((range.upperBound - 1) / Self.pageSize)
    return covering.count < pages.count
      ? covering.filter { pages[$0] != nil } : pages.keys.filter(covering.contains).sorted()
  }

  private mutating func clear(_ range: Range<Int>) {
    for page in dataPages(in: range) {
      let start = page * Self.pageSize
      let part = (start..<(start + Self.pageSize)).clamped(to: range)
      if part.count == Self.pageSize {
        pages[page] = nil
        reserved.insert(page)
      } else {
        pages[page]?.replaceSubrange(
          (part.lowerBound - start)..<(part.upperBound - start), with: repeatElement(0, count: part.count))
      }
    }
  }

  private static func forEachPart(of range: Range<Int>, _ body: (_ page: Int, _ part: Range<Int>) -> Void) {
    var offset = range.lowerBound
    while offset < range.upperBound {
      let page = offset / pageSize
      let end = min(range.upperBound, (page + 1) * pageSize)
      body(page, (offset - page * pageSize)..<(end - page * pageSize))
      offset = end
    }
  }
}
