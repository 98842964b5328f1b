package import HostStorage

/// How much space the job leaves on the file system below the active layer; `min-free`.
package enum MinimumFree: Equatable, Sendable {
  case bytes(ByteCount)
  /// Of the file system's size, 0 to 100.
  case percent(Int)

  /// The bytes to be left on a file system of this size.
  package func bytes(of total: ByteCount) -> ByteCount {
    switch self {
    case .bytes(let bytes): bytes
    // Divided first: a file system's size times a hundred may not fit.
    case .percent(let percent): ByteCount(total.bytes / 100 * percent)
    }
  }

  var isNothing: Bool { self == .bytes(0) || self == .percent(0) }
}

/// Less space than `min-free` asks for.
package struct SpaceShortage: Equatable, Sendable {
  package let free: ByteCount
  package let wanted: ByteCount

  init?(free: ByteCount, total: ByteCount, minimum: MinimumFree) {
    wanted = minimum.bytes(of: total)
    self.free = free
    if free >= wanted { return nil }
  }
}
