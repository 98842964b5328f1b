import HostStorage
import ImageFormat

/// One look through the disk, from its beginning to its end: finds what is not populated and hands it out in chunks.
///
/// One look-up is under way at a time; chunks are handed out in order, any number at once. A chunk begins at an
/// unpopulated offset and ends at a multiple of the chunk size, whatever lies between: populating skips what is
/// there already.
struct Pass {
  enum Step: Equatable {
    /// Look for the next unpopulated range.
    case scan(from: GuestOffset)
    case populate(GuestRange)
  }

  private let end: GuestOffset
  /// Everything before was looked at.
  private var scanned = GuestOffset(0)
  /// Unpopulated, not handed out yet.
  private var ahead = GuestRange(at: GuestOffset(0), count: 0)
  private var retries: [GuestRange] = []
  private var underWay: Set<GuestRange> = []
  private var isScanning = false
  /// Whether anything unpopulated was met: then another pass is needed to know that nothing is left.
  private(set) var foundSomething = false

  init(size: ByteCount) { end = GuestOffset(0) + size }

  /// Everything before this offset is done or left out.
  var position: GuestOffset {
    let next = ahead.isEmpty ? scanned : ahead.start
    return (retries + underWay).reduce(next) { min($0, $1.start) }
  }

  var isComplete: Bool {
    scanned >= end && ahead.isEmpty && retries.isEmpty && underWay.isEmpty && !isScanning
  }

  /// What to do next; nil: nothing before something under way has ended.
  mutating func next(chunk: ByteCount) -> Step? {
    if let range = retries.popLast() ?? takeAhead(chunk: chunk) {
      underWay.insert(range)
      return .populate(range)
    }
    guard scanned < end, !isScanning else { return nil }
    isScanning = true
    return .scan(from: scanned)
  }

  private mutating func takeAhead(chunk: ByteCount) -> GuestRange? {
    guard !ahead.isEmpty else { return nil }
    let boundary = min((ahead.start + 1).roundedUp(to: chunk), end)
    defer {
      ahead = GuestRange(from: boundary, to: max(boundary, ahead.end))
      scanned = max(scanned, boundary)
    }
    return GuestRange(from: ahead.start, to: boundary)
  }

  mutating func scanned(finding range: GuestRange?) {
    isScanning = false
    guard let range else {
      scanned = end
      return
    }
    foundSomething = true
    ahead = range
    scanned = range.end
  }

  /// `leavingOut`: go on behind a chunk; otherwise the same look-up is made again.
  mutating func scanFailed(leavingOut chunk: ByteCount?) {
    isScanning = false
    guard let chunk else { return }
    scanned = min((scanned + 1).roundedUp(to: chunk), end)
  }

  /// `isLeft`: it is to be handed out again.
  mutating func ended(_ range: GuestRange, isLeft: Bool) {
    underWay.remove(range)
    if isLeft { retries.append(range) }
  }
}
