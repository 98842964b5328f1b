package import HostStorage
package import ImageFormat

// Populating: copying what only lies below into the active layer. It never changes what the guest reads, so it needs to
// agree with nobody; it only has to look again under the range's lock, and the guest's write has won.
//
// With a base kept, "below" is what lies between; and what reads as zeros there, while the base has something, has to be
// made zero in the active layer, or the base's old bytes would shine through. Without one, zeros may stay unallocated.
extension BackingChain {
  /// A range to populate and whether all of it reads as zeros.
  struct Need: Equatable {
    var range: GuestRange
    var isZero: Bool
  }

  /// The most that is copied at once: what one lock covers, and one buffer holds. A whole number of clusters, whatever
  /// their size: half a cluster of zeros could not be made zero without the other half.
  package static let populateLimit = ByteCount(2 << 20)

  /// The next range from `offset` on that is to be populated when `base` is kept (nil: none), in whole allocation units, or
  /// nil where there is none up to the end of the disk.
  package func nextUnpopulated(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> GuestRange? {
    let disk = GuestRange(at: GuestOffset(0), count: virtualSize)
    return try request { (snapshot) throws(ChainError) in
      try nextNeed(in: disk.clamped(to: GuestRange(from: offset, to: disk.end)), above: base, snapshot: snapshot)?.range
    }
  }

  /// Populates what is still to be populated in `range`. Returns the bytes copied; zeros cost nothing.
  package func populate(_ range: GuestRange, above base: Layer?) throws(ChainError) -> ByteCount {
    let image = try writable()
    let disk = GuestRange(at: GuestOffset(0), count: virtualSize)
    let range = range.roundedOut(to: image.allocationUnit).clamped(to: disk)
    var copied: ByteCount = 0
    var position = range.start
    while position < range.end {
      let part = GuestRange(at: position, count: min(range.end - position, Self.populateLimit))
      copied += try request { (snapshot) throws(ChainError) in
        try ranges.withLock(on: part, exclusive: true) { () throws(ChainError) in
          try populateLocked(part, above: base, image: image, snapshot: snapshot)
        }
      }
      position = part.end
    }
    return copied
  }

  /// The bytes that are to be copied when `base` is kept, by metadata alone.
  package func remaining(above base: Layer?) throws(ChainError) -> ByteCount {
    var sum: ByteCount = 0
    var position = GuestOffset(0)
    let end = GuestOffset(virtualSize.bytes)
    while position < end {
      let need = try request { (snapshot) throws(ChainError) in
        try nextNeed(in: GuestRange(from: position, to: end), above: base, snapshot: snapshot)
      }
      guard let need else { break }
      if !need.isZero { sum += need.range.count }
      position = need.range.end
    }
    return sum
  }

  private func populateLocked(
    _ range: GuestRange, above base: Layer?, image: any WritableImage, snapshot: ChainSnapshot
  ) throws(ChainError) -> ByteCount {
    var copied: ByteCount = 0
    var position = range.start
    while let need = try nextNeed(
      in: GuestRange(from: position, to: range.end), above: base, snapshot: snapshot)
    {
      if need.isZero {
        copied += try makeZero(need.range, image: image, snapshot: snapshot)
      } else {
        copied += try copy(need.range, image: image, snapshot: snapshot)
      }
      position = need.range.end
    }
    return copied
  }

  /// Copies a range that the active layer lacks: what lies in one file below is cloned where the host can do that.
  private func copy(_ range: GuestRange, image: any WritableImage, snapshot: ChainSnapshot) throws(ChainError)
    -> ByteCount
  {
    var copied: ByteCount = 0
    var position = range.start
    while position < range.end {
      let rest = GuestRange(from: position, to: range.end)
      let (source, count) = try snapshot.source(at: position, limit: rest.count, from: 1, to: snapshot.layers.count)
      let units = GuestRange(at: position, count: count.roundedDown(to: image.allocationUnit))
      var part = units.isEmpty ? GuestRange(at: position, count: image.allocationUnit).clamped(to: rest) : units
      if case .data(let storage, let host, _) = source, !units.isEmpty, image.dataStorage.mayClone(from: storage),
        let cloned = try clone(units, from: storage, at: host, image: image)
      {
        part = cloned
        copied += part.count
      } else {
        copied += try copyThroughBuffer(part, image: image, snapshot: snapshot)
      }
      position = part.end
    }
    return copied
  }

  /// Has the first part of `range`, whole allocation units that lie in `source` from `host` on, share the host's blocks.
  /// Returns that part; nil where the host refuses.
  private func clone(_ range: GuestRange, from source: any Storage, at host: HostOffset, image: any WritableImage)
    throws(ChainError) -> GuestRange?
  {
    do throws(ImageError) {
      let plan = try image.prepare(range)
      var isCloned = false
      defer { if !isCloned { image.abandon(plan) } }
      // A cluster that a snapshot shares moves whole, and what is beside the range has to be brought along.
      guard plan.filled == plan.range else { return nil }
      do throws(StorageError) {
        isCloned = try image.dataStorage.clone(plan.range.count, from: source, at: host, to: plan.target)
      } catch {
        throw ImageError(error)
      }
      guard isCloned else { return nil }
      try image.publish(plan)
      noteAllocated(plan.filled.count)
      return plan.range
    } catch {
      throw ChainError(error)
    }
  }

  private func copyThroughBuffer(_ range: GuestRange, image: any WritableImage, snapshot: ChainSnapshot)
    throws(ChainError) -> ByteCount
  {
    let bytes = try view(of: range, in: snapshot)
    let unit = image.allocationUnit.bytes
    var copied: ByteCount = 0
    var position = 0
    while position < bytes.count {
      let isZero = bytes.span.extracting(position..<min(position + unit, bytes.count)).isZero
      var end = min(position + unit, bytes.count)
      while end < bytes.count,
        bytes.span.extracting(end..<min(end + unit, bytes.count)).isZero == isZero
      {
        end = min(end + unit, bytes.count)
      }
      let part = GuestRange(at: range.start + ByteCount(position), count: ByteCount(end - position))
      if isZero {
        copied += try makeZero(part, image: image, snapshot: snapshot)
      } else {
        try store(bytes.span.extracting(position..<end), at: part.start, image: image, snapshot: snapshot)
        copied += part.count
      }
      position = end
    }
    return copied
  }

  private func store(
    _ bytes: Span<UInt8>, at offset: GuestOffset, image: any WritableImage, snapshot: ChainSnapshot
  ) throws(ChainError) {
    var done = 0
    while done < bytes.count {
      let range = GuestRange(at: offset + ByteCount(done), count: ByteCount(bytes.count - done))
      done += try writeAllocating(
        bytes.extracting(done..<bytes.count), range: range, image: image, snapshot: snapshot
      ).bytes
    }
  }

  /// Makes a range explicitly zero that reads as zeros already: by zero clusters, or as data where there are none.
  private func makeZero(_ range: GuestRange, image: any WritableImage, snapshot: ChainSnapshot)
    throws(ChainError) -> ByteCount
  {
    var written: ByteCount = 0
    var position = range.start
    while position < range.end {
      let rest = GuestRange(from: position, to: range.end).roundedOut(to: image.allocationUnit)
      do {
        let done = try image.zero(rest, reserving: false, hiding: true)
        position += done
        if done.bytes > 0 { continue }
      } catch {
        throw ChainError(error)
      }
      let unit = GuestRange(at: position, count: min(image.allocationUnit, range.end - position))
      let zeros = [UInt8](repeating: 0, count: unit.count.bytes)
      try store(zeros.span, at: unit.start, image: image, snapshot: snapshot)
      written += unit.count
      position = unit.end
    }
    return written
  }

  /// The first part of `range` that is to be populated: of one kind, at most `populateLimit` long, in whole allocation units
  /// but for the end of the disk. `range` begins at a unit.
  func nextNeed(in range: GuestRange, above base: Layer?, snapshot: ChainSnapshot) throws(ChainError) -> Need? {
    guard let image = active else { return nil }
    let unit = image.allocationUnit
    let end = base.flatMap { base in snapshot.layers.firstIndex { $0 === base } } ?? snapshot.layers.count
    var position = range.start.roundedDown(to: unit)
    while position < range.end {
      let (top, limit) = try snapshot.source(at: position, limit: min(range.end - position, Self.populateLimit), to: 1)
      guard case .nowhere = top else {
        position = (position + limit).roundedUp(to: unit)
        continue
      }
      var (kind, count) = try below(at: position, limit: limit, end: end, base: base, snapshot: snapshot)
      // A table of small clusters ends before a unit of large ones does, though what follows is the same.
      while count < min(unit, limit) {
        let next = try below(at: position + count, limit: limit - count, end: end, base: base, snapshot: snapshot)
        guard next.kind == kind else { break }
        count += next.count
      }
      // A unit of several kinds is copied whole.
      let isWhole = count >= min(unit, limit)
      let length = isWhole ? max(count.roundedDown(to: unit), min(unit, count)) : min(unit, limit)
      switch isWhole ? kind : .data {
      case .nothing: position += length
      case .zero: return Need(range: GuestRange(at: position, count: length), isZero: true)
      case .data:
        let range = GuestRange(at: position, count: min(length.roundedUp(to: unit), limit))
        return Need(range: range, isZero: false)
      }
    }
    return nil
  }

  private enum Kind {
    case nothing
    case zero
    case data
  }

  /// What layers 1 up to `end` have at an offset, as far as populating is concerned.
  private func below(at offset: GuestOffset, limit: ByteCount, end: Int, base: Layer?, snapshot: ChainSnapshot)
    throws(ChainError) -> (kind: Kind, count: ByteCount)
  {
    let (source, count) = try snapshot.source(at: offset, limit: limit, from: 1, to: end)
    var isZero = false
    var length = count
    switch source {
    case .nowhere: return (.nothing, count)
    case .compressed: return (.data, count)
    case .zero: isZero = true
    case .data(let storage, let host, _):
      do {
        let extent = try storage.extent(at: host, limit: count)
        isZero = extent.isHole
        length = min(count, extent.count)
      } catch {
        throw ChainError(error)
      }
    }
    guard isZero else { return (.data, length) }
    // Zeros hide nothing where the base is not there either.
    guard let base, offset.bytes < base.virtualSize.bytes else { return (.nothing, length) }
    return (.zero, min(length, GuestOffset(base.virtualSize.bytes) - offset))
  }
}

extension Span<UInt8> {
  /// Whether every byte is zero. Blocks are looked at without branches, many bytes at a time.
  var isZero: Bool {
    var index = 0
    while index + 64 <= count {
      var bits: UInt8 = 0
      for place in index..<index + 64 { bits |= self[place] }
      if bits != 0 { return false }
      index += 64
    }
    return extracting(index...).indices.allSatisfy { self[index + $0] == 0 }
  }
}
