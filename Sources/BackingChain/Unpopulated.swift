import HostStorage
import ImageFormat

/// What is to be populated when a base is kept, by a look at the metadata. Three steps, one after the other: which runs the
/// layers above the base hold; those in whole units of the active layer; what is to be done with them.
///
/// Nothing is asked of the base but its size: what it holds, or whether it can be read, changes none of the answers.
struct Unpopulated {
  /// A range to populate, and how.
  struct Need {
    var range: GuestRange
    var action: Action
  }

  enum Action: Equatable {
    /// All of it reads as zeros.
    case makeZero
    /// It is copied; all of it lies in layers before this number, so that no other needs to be asked.
    case copy(to: Int)
  }

  /// What layers above the base have where the active layer has nothing, as far as it matters.
  private enum Holding {
    /// Nothing; or zeros where the base, too, shows zeros, having ended.
    case nothing
    /// Zeros, which hide what the base may have.
    case zeros
    /// Bytes; also those that a file has lost, which are an error to whoever copies them.
    case data
  }

  private let snapshot: ChainSnapshot
  /// Layers from this number on are not asked.
  private let end: Int
  private let baseSize: ByteCount
  private let unit: ByteCount

  init(in snapshot: ChainSnapshot, above base: Layer?, unit: ByteCount) {
    self.snapshot = snapshot
    end = base.flatMap { base in snapshot.layers.firstIndex { $0 === base } } ?? snapshot.layers.count
    baseSize = base?.virtualSize ?? 0
    self.unit = unit
  }

  /// The first part of `range` that is to be populated: of one kind, at most `BackingChain.populateLimit` long, in whole
  /// units but for the end of the disk. `range` begins at a unit.
  func next(in range: GuestRange) throws(ChainError) -> Need? {
    var position = range.start.roundedDown(to: unit)
    while position < range.end {
      let limit = min(range.end - position, BackingChain.populateLimit)
      let (top, count) = try snapshot.source(at: position, limit: limit, to: 1)
      guard case .nowhere = top else {
        position = (position + count).roundedUp(to: unit)
        continue
      }
      let units = try units(at: position, limit: count)
      switch units.holding {
      case .nothing: position += units.count
      case .zeros: return Need(range: GuestRange(at: position, count: units.count), action: .makeZero)
      case .data: return Need(range: GuestRange(at: position, count: units.count), action: .copy(to: end))
      // A unit of several kinds is copied whole, with what the base has in it.
      case nil:
        return Need(range: GuestRange(at: position, count: units.count), action: .copy(to: snapshot.layers.count))
      }
    }
    return nil
  }

  /// The units from `offset` on that hold the same, or the first one alone, with nil, where that holds several kinds.
  private func units(at offset: GuestOffset, limit: ByteCount) throws(ChainError) -> (
    holding: Holding?, count: ByteCount
  ) {
    var (holding, count) = try run(at: offset, limit: limit)
    // A table of small clusters ends before a unit of large ones does, though what follows is the same.
    while count < min(unit, limit) {
      let next = try run(at: offset + count, limit: limit - count)
      guard next.holding == holding else { return (nil, min(unit, limit)) }
      count += next.count
    }
    // At the end of the disk a unit may be cut off.
    return (holding, count == limit ? limit : count.roundedDown(to: unit))
  }

  /// The run that begins at `offset` in the layers above the base.
  private func run(at offset: GuestOffset, limit: ByteCount) throws(ChainError) -> (holding: Holding, count: ByteCount)
  {
    let (source, count) = try snapshot.source(at: offset, limit: limit, from: 1, to: end)
    switch source {
    case .nowhere: return (.nothing, count)
    case .compressed: return (.data, count)
    case .zero: return zeros(at: offset, count: count)
    case .data(let storage, let host, let layer):
      let extent = try snapshot.extent(of: storage, at: host, limit: count, layer: layer)
      return extent.isHole ? zeros(at: offset, count: extent.count) : (.data, extent.count)
    }
  }

  private func zeros(at offset: GuestOffset, count: ByteCount) -> (holding: Holding, count: ByteCount) {
    let hiding = GuestOffset(baseSize.bytes) - offset
    return hiding > 0 ? (.zeros, min(count, hiding)) : (.nothing, count)
  }
}
