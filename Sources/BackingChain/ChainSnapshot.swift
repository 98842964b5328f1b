import HostStorage
import ImageFormat

/// Where a run of the guest's bytes comes from.
enum Source {
  /// From this offset of this storage, which belongs to layer number `layer`.
  case data(any Storage, at: HostOffset, layer: Int)
  /// Inside a compressed cluster of layer number `layer`.
  case compressed(CompressedCluster, skip: ByteCount, layer: Int)
  /// Zeros that some layer says are zeros, or that lie past the end of one.
  case zero
  /// In none of the layers that were asked.
  case nowhere
}

/// The layers of a chain at one moment, top first.
package final class ChainSnapshot: Sendable {
  package let layers: [Layer]
  /// Whether a request that is under way may look below the active layer: in this snapshot, or still in the one before.
  let someoneLooksBelow: Bool
  private let below = BelowMap()

  init(layers: [Layer], someoneLooksBelow: Bool = false) {
    self.layers = layers
    self.someoneLooksBelow = someoneLooksBelow || layers.count > 1
  }

  /// Where the bytes from `offset` on come from, for a run of at least 1 and at most `limit` bytes, when layers number
  /// `first` (0 or 1) up to, not including, `end` are asked.
  func source(at offset: GuestOffset, limit: ByteCount, from first: Int = 0, to end: Int)
    throws(ChainError) -> (source: Source, count: ByteCount)
  {
    var limit = limit
    if first == 0 {
      let top = try run(at: offset, limit: limit, layer: 0)
      limit = top.count
      guard case .unallocated = top.mapping, end > 1 else { return (source(top.mapping, layer: 0), limit) }
    }
    let answer = try below.answer(at: offset) { (range) throws(ChainError) in try resolve(range) }
    let count = min(limit, answer.range.count)
    return (answer.layer < end ? source(answer.mapping, layer: answer.layer) : .nowhere, count)
  }

  /// The first part of `range`, as the layers below the top have it.
  private func resolve(_ range: GuestRange) throws(ChainError) -> BelowMap.Answer {
    var part = range
    for layer in layers.indices.dropFirst() {
      let run = try run(at: part.start, limit: part.count, layer: layer)
      part = GuestRange(at: part.start, count: run.count)
      if run.mapping != .unallocated { return BelowMap.Answer(range: part, mapping: run.mapping, layer: layer) }
    }
    return BelowMap.Answer(range: part, mapping: .unallocated, layer: layers.count)
  }

  /// What one layer says; past its end it reads as zeros.
  private func run(at offset: GuestOffset, limit: ByteCount, layer: Int) throws(ChainError) -> Run {
    let image = layers[layer].image
    let rest = GuestOffset(image.virtualSize.bytes) - offset
    guard rest.bytes > 0 else { return Run(.zero(reserved: false), count: limit) }
    do {
      return try image.mapping(at: offset, limit: min(limit, rest))
    } catch {
      throw ChainError(error)
    }
  }

  private func source(_ mapping: Mapping, layer: Int) -> Source {
    switch mapping {
    case .unallocated: .nowhere
    case .zero: .zero
    case .data(let host): .data(layers[layer].image.dataStorage, at: host, layer: layer)
    case .compressed(let cluster, let skip): .compressed(cluster, skip: skip, layer: layer)
    }
  }

  /// Appends the guest's bytes in `range` to `output`. Returns whether any came from below the top layer.
  func read(_ range: GuestRange, into output: inout OutputSpan<UInt8>) throws(ChainError) -> Bool {
    var wentBelow = false
    var position = range.start
    while position < range.end {
      let (source, count) = try source(at: position, limit: range.end - position, to: layers.count)
      switch source {
      case .data(let storage, let host, let layer):
        try read(count, from: storage, at: host, into: &output)
        if layer > 0 { wentBelow = true }
      case .compressed(let cluster, let skip, let layer):
        try inflate(cluster, skip: skip, count: count, layer: layer, into: &output)
        if layer > 0 { wentBelow = true }
      case .zero, .nowhere:
        output.append(repeating: 0, count: count.bytes)
      }
      position += count
    }
    return wentBelow
  }

  private func read(
    _ count: ByteCount, from storage: any Storage, at host: HostOffset, into output: inout OutputSpan<UInt8>
  ) throws(ChainError) {
    let before = output.count
    do {
      try storage.read(count, at: host, into: &output)
    } catch {
      throw ChainError(error)
    }
    // A mapping past the end is damage, or the file was cut under us; zeros would be invented.
    guard output.count - before == count.bytes else {
      throw ChainError(
        ImageError(.corrupt, path: storage.path, reason: "its data at \(host.bytes) lies past the end of the file"))
    }
  }

  private func inflate(
    _ cluster: CompressedCluster, skip: ByteCount, count: ByteCount, layer: Int,
    into output: inout OutputSpan<UInt8>
  ) throws(ChainError) {
    let bytes: [UInt8]
    do {
      bytes = try layers[layer].image.inflate(cluster)
    } catch {
      throw ChainError(error)
    }
    output.append(copying: bytes.span.extracting(skip.bytes..<(skip + count).bytes))
  }
}
