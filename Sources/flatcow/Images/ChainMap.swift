import BackingChain
import HostStorage
import ImageFormat

/// A run of the disk and where it comes from; `qemu-img map` in values.
struct MappedRun: Equatable {
  var range: GuestRange
  /// The layer that answers, 0 for the top; the lowest where none holds it.
  var depth: Int
  /// Whether a layer holds it, be it as zeros.
  var isPresent = true
  var isZero = false
  var isData = false
  var isCompressed = false
  /// It lies past the end of the layer's file: the layer has lost it, and reading it is an error.
  var isLost = false
  /// In the layer's file; nil for zeros without a place, and for compressed data.
  var offset: HostOffset?

  /// Takes the next run over where it goes on in the same way.
  func joined(with next: MappedRun) -> MappedRun? {
    var joined = self
    joined.range.count += next.range.count
    var expected = next
    expected.range = joined.range
    expected.offset = next.offset.map { $0 - range.count }
    return next.range.start == range.end && expected == joined ? joined : nil
  }
}

/// Walks through a whole disk: asks the layers from the top down where each run is, and reads none of it.
struct ChainMap {
  let layers: [Layer]

  func forEachRun(_ body: (MappedRun) -> Void) throws(ChainError) {
    let end = GuestOffset(layers[0].virtualSize.bytes)
    var open: MappedRun?
    var position = GuestOffset(0)
    while position < end {
      let run = try self.run(at: position, limit: end - position)
      position = run.range.end
      if let joined = open?.joined(with: run) {
        open = joined
      } else {
        if let open { body(open) }
        open = run
      }
    }
    if let open { body(open) }
  }

  private func run(at offset: GuestOffset, limit: ByteCount) throws(ChainError) -> MappedRun {
    var count = limit
    for (depth, layer) in layers.enumerated() {
      let rest = GuestOffset(layer.virtualSize.bytes) - offset
      // The layer above reads as zeros where this one has ended.
      if rest.bytes <= 0 { return zeros(offset, count, depth: depth - 1, isPresent: false) }
      let found: Run
      do {
        found = try layer.image.mapping(at: offset, limit: min(count, rest))
      } catch {
        throw ChainError(error)
      }
      count = found.count
      switch found.mapping {
      case .unallocated: continue
      case .zero: return zeros(offset, count, depth: depth, isPresent: true)
      case .compressed(let cluster, _):
        return MappedRun(
          range: GuestRange(at: offset, count: count), depth: depth, isData: true, isCompressed: true,
          isLost: try extent(at: cluster.start, limit: cluster.size, depth: depth).kind == .pastEnd)
      case .data(let place): return try data(offset, count, depth: depth, at: place)
      }
    }
    return zeros(offset, count, depth: layers.count - 1, isPresent: false)
  }

  /// What lies in a hole of the layer's file reads as zeros.
  private func data(
    _ offset: GuestOffset, _ count: ByteCount, depth: Int, at place: HostOffset
  ) throws(ChainError) -> MappedRun {
    let extent = try extent(at: place, limit: count, depth: depth)
    return MappedRun(
      range: GuestRange(at: offset, count: extent.count), depth: depth, isZero: extent.isHole,
      isData: !extent.isHole, isLost: extent.kind == .pastEnd, offset: place)
  }

  private func extent(at place: HostOffset, limit: ByteCount, depth: Int) throws(ChainError) -> StorageExtent {
    do {
      return try layers[depth].image.dataStorage.extent(at: place, limit: limit)
    } catch {
      throw ChainError(error)
    }
  }

  private func zeros(_ offset: GuestOffset, _ count: ByteCount, depth: Int, isPresent: Bool) -> MappedRun {
    MappedRun(range: GuestRange(at: offset, count: count), depth: depth, isPresent: isPresent, isZero: true)
  }
}
