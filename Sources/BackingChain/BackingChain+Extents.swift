package import HostStorage
package import ImageFormat

extension BackingChain {
  /// Whether the disk has a hole at `offset`, and for how long a run of at most `limit` bytes. What lies past the end of a
  /// layer's file is none.
  package func extent(at offset: GuestOffset, limit: ByteCount) throws(ChainError) -> (isHole: Bool, count: ByteCount) {
    try request { (snapshot) throws(ChainError) in
      let (source, count) = try snapshot.source(at: offset, limit: limit, to: snapshot.layers.count)
      switch source {
      case .zero, .nowhere: return (true, count)
      case .compressed: return (false, count)
      case .data(let storage, let host, let layer):
        let extent = try snapshot.extent(of: storage, at: host, limit: count, layer: layer)
        return (extent.isHole, extent.count)
      }
    }
  }

  /// Bytes of the disk that are not holes; never too few. All of them where that is not known, or not yet.
  package func allocatedSize() -> ByteCount {
    let size = allocated.value { isStopped in
      var sum: ByteCount = 0
      var position = GuestOffset(0)
      while position.bytes < self.virtualSize.bytes {
        let rest = GuestOffset(self.virtualSize.bytes) - position
        guard !isStopped(), let (isHole, count) = try? self.extent(at: position, limit: rest) else { return nil }
        if !isHole { sum += count }
        position += count
      }
      return sum
    }
    return min(size ?? virtualSize, virtualSize)
  }

  /// Bytes free, and the size of, the file system that the active layer lies on.
  package func space() throws(ChainError) -> (free: ByteCount, total: ByteCount) {
    do {
      return try snapshot.layers[0].image.dataStorage.space()
    } catch {
      throw ChainError(error)
    }
  }
}
