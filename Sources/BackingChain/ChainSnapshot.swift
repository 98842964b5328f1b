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
///
/// A layer below the top is asked and read through its door only, one at a time: who waits for one stands in the way of no
/// other. Any method here throws `.letGo` where a completion has shut that door.
package final class ChainSnapshot: Sendable {
  package let layers: [Layer]
  private let below = BelowMap()
  /// Of the layers above the base that was asked for last.
  private let aboveBase = Lock<(end: Int, map: BelowMap)?>(nil)

  init(layers: [Layer]) { self.layers = layers }

  /// Where the bytes from `offset` on come from, for a run of at least 1 and at most `limit` bytes, when layers number
  /// `first` (0 or 1) up to, not including, `end` are asked; no other is.
  func source(at offset: GuestOffset, limit: ByteCount, from first: Int = 0, to end: Int)
    throws(ChainError) -> (source: Source, count: ByteCount)
  {
    var limit = limit
    if first == 0 {
      let top = try run(at: offset, limit: limit, layer: 0)
      limit = top.count
      guard case .unallocated = top.mapping, end > 1 else { return (source(top.mapping, layer: 0), limit) }
    }
    let answer = try map(to: end).answer(at: offset) { (range) throws(ChainError) in try resolve(range, to: end) }
    return (source(answer.mapping, layer: answer.layer), min(limit, answer.range.count))
  }

  /// What is known of layers number 1 up to `end`.
  private func map(to end: Int) -> BelowMap {
    if end == layers.count { return below }
    return aboveBase.withLock { known in
      if let known, known.end == end { return known.map }
      let map = BelowMap()
      known = (end, map)
      return map
    }
  }

  /// The first part of `range`, as layers number 1 up to `end` have it.
  private func resolve(_ range: GuestRange, to end: Int) throws(ChainError) -> BelowMap.Answer {
    var part = range
    for layer in 1..<max(end, 1) {
      let run = try run(at: part.start, limit: part.count, layer: layer)
      part = GuestRange(at: part.start, count: run.count)
      if run.mapping != .unallocated { return BelowMap.Answer(range: part, mapping: run.mapping, layer: layer) }
    }
    return BelowMap.Answer(range: part, mapping: .unallocated, layer: end)
  }

  /// Runs `body` inside of layer number `layer`, which is not closed meanwhile. The top is never let go.
  func inside<Result>(_ layer: Int, _ body: () throws(ChainError) -> Result) throws(ChainError) -> Result {
    if layer == 0 { return try body() }
    let door = layers[layer].door
    guard door.enter() else {
      let path = layers[layer].path
      throw ChainError(.letGo, path: path, message: "\(path) is no longer in the chain")
    }
    defer { door.leave() }
    return try body()
  }

  /// What one layer says; past its end it reads as zeros.
  private func run(at offset: GuestOffset, limit: ByteCount, layer: Int) throws(ChainError) -> Run {
    let image = layers[layer].image
    let rest = GuestOffset(image.virtualSize.bytes) - offset
    guard rest.bytes > 0 else { return Run(.zero(reserved: false), count: limit) }
    return try inside(layer) { () throws(ChainError) in
      do throws(ImageError) {
        return try image.mapping(at: offset, limit: min(limit, rest))
      } catch {
        throw ChainError(error)
      }
    }
  }

  /// Whether what `source` found in `layer` is a hole of its file, data, or past its end.
  func extent(of storage: any Storage, at host: HostOffset, limit: ByteCount, layer: Int)
    throws(ChainError) -> StorageExtent
  {
    try inside(layer) { () throws(ChainError) in
      do throws(StorageError) {
        return try storage.extent(at: host, limit: limit)
      } catch {
        throw ChainError(error)
      }
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

  /// Appends the bytes that layers up to `end` have in `range` to `output`.
  func read(_ range: GuestRange, to end: Int, into output: inout OutputSpan<UInt8>) throws(ChainError) {
    var position = range.start
    while position < range.end {
      position += try readRun(of: GuestRange(from: position, to: range.end), to: end, into: &output).count
    }
  }

  /// Appends the bytes that layers up to `end` have in the first part of `range` to `output`. Returns how many, and whether
  /// they came from below the top layer. Where it throws `.letGo`, it has appended nothing.
  func readRun(of range: GuestRange, to end: Int, into output: inout OutputSpan<UInt8>)
    throws(ChainError) -> (count: ByteCount, isBelow: Bool)
  {
    let (source, count) = try source(at: range.start, limit: range.count, to: end)
    switch source {
    case .data(let storage, let host, let layer):
      try inside(layer) { () throws(ChainError) in try read(count, from: storage, at: host, into: &output) }
      return (count, layer > 0)
    case .compressed(let cluster, let skip, let layer):
      try inside(layer) { () throws(ChainError) in
        try inflate(cluster, skip: skip, count: count, layer: layer, into: &output)
      }
      return (count, layer > 0)
    case .zero, .nowhere:
      output.append(repeating: 0, count: count.bytes)
      return (count, false)
    }
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
