/// What a `MemoryStorage` is asked to do.
package enum StorageAction: Hashable, Sendable, CaseIterable {
  case read, write, zero, punch, reserve, resize, clone, sync, extent
}

/// A change that a `MemoryStorage` made, as its log keeps it. A copy is logged as a write.
package enum StorageOperation: Equatable, Sendable {
  case write([UInt8], at: Int)
  case zero(Range<Int>)
  case punch(Range<Int>)
  case reserve(Range<Int>)
  case resize(to: Int)
  /// Returned with success.
  case sync

  func apply(to content: inout SparseBytes) {
    switch self {
    case .write(let bytes, let offset): content.write(bytes[...], at: offset)
    case .zero(let range): content.zero(range)
    case .punch(let range): content.punch(range)
    case .reserve(let range): content.reserve(range)
    case .resize(let size): content.resize(to: size)
    case .sync: break
    }
  }

  /// What a change that falls short leaves: its first half, up to a sector's end; nil where that is nothing.
  var firstHalf: StorageOperation? {
    let end = (range.lowerBound + range.count / 2) / 512 * 512
    guard end > range.lowerBound else { return nil }
    switch self {
    case .write(let bytes, let offset): return .write(Array(bytes[..<(end - offset)]), at: offset)
    case .zero(let range): return .zero(range.lowerBound..<end)
    case .punch(let range): return .punch(range.lowerBound..<end)
    case .reserve(let range): return .reserve(range.lowerBound..<end)
    case .resize, .sync: return nil
    }
  }

  /// The bytes that it changes or, for `.resize`, may uncover or cut off.
  package var range: Range<Int> {
    switch self {
    case .write(let bytes, let offset): offset..<(offset + bytes.count)
    case .zero(let range), .punch(let range), .reserve(let range): range
    case .resize(let size): size..<Int.max
    case .sync: 0..<0
    }
  }
}

extension StorageOperation: CustomStringConvertible {
  package var description: String {
    switch self {
    case .write(let bytes, let offset): "write \(offset)+\(bytes.count)"
    case .zero(let range): "zero \(range.lowerBound)+\(range.count)"
    case .punch(let range): "punch \(range.lowerBound)+\(range.count)"
    case .reserve(let range): "reserve \(range.lowerBound)+\(range.count)"
    case .resize(let size): "resize to \(size)"
    case .sync: "sync"
    }
  }
}
