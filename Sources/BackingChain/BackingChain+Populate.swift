package import HostStorage
package import ImageFormat

// Populating: copying what only lies below into the active layer. It never changes what the guest reads, so it needs to
// agree with nobody; it only has to look again under the range's lock, and the guest's write has won.
//
// With a base kept, "below" is what lies between; and what reads as zeros there, while the base has something, has to be
// made zero in the active layer, or the base's old bytes would shine through. Without one, zeros may stay unallocated.
extension BackingChain {
  /// The most that is copied at once: what one lock covers, and one buffer holds. A whole number of clusters, whatever
  /// their size: half a cluster of zeros could not be made zero without the other half.
  package static let populateLimit = ByteCount(2 << 20)

  /// The next range from `offset` on that is to be populated when `base` is kept (nil: none), in whole allocation units, or
  /// nil where there is none up to the end of the disk.
  package func nextUnpopulated(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> GuestRange? {
    try nextNeed(from: offset, above: base)?.range
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
      try request { (snapshot) throws(ChainError) in
        try ranges.withLock(on: part, exclusive: true) { () throws(ChainError) in
          try populateLocked(part, above: base, image: image, snapshot: snapshot, copied: &copied)
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
    while let need = try nextNeed(from: position, above: base) {
      if need.action != .makeZero { sum += need.range.count }
      position = need.range.end
    }
    return sum
  }

  private func nextNeed(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> Unpopulated.Need? {
    guard let active, offset.bytes < virtualSize.bytes else { return nil }
    let rest = GuestRange(from: offset, to: GuestOffset(virtualSize.bytes))
    return try request { (snapshot) throws(ChainError) in
      try Unpopulated(in: snapshot, above: base, unit: active.allocationUnit).next(in: rest)
    }
  }

  private func populateLocked(
    _ range: GuestRange, above base: Layer?, image: any WritableImage, snapshot: ChainSnapshot,
    copied: inout ByteCount
  ) throws(ChainError) {
    let unpopulated = Unpopulated(in: snapshot, above: base, unit: image.allocationUnit)
    var rest = range
    while let need = try unpopulated.next(in: rest) {
      switch need.action {
      case .makeZero: copied += try makeZero(need.range, image: image, snapshot: snapshot)
      case .copy(let end): copied += try copy(need.range, to: end, image: image, snapshot: snapshot)
      }
      rest = GuestRange(from: need.range.end, to: range.end)
    }
  }

  /// Copies a range that the active layer lacks and layers up to `end` have: what lies in one file below is cloned where the
  /// host can do that.
  private func copy(_ range: GuestRange, to end: Int, image: any WritableImage, snapshot: ChainSnapshot)
    throws(ChainError) -> ByteCount
  {
    var copied: ByteCount = 0
    var position = range.start
    while position < range.end {
      let rest = GuestRange(from: position, to: range.end)
      let (source, count) = try snapshot.source(at: position, limit: rest.count, from: 1, to: end)
      let units = GuestRange(at: position, count: count.roundedDown(to: image.allocationUnit))
      var part = units.isEmpty ? GuestRange(at: position, count: image.allocationUnit).clamped(to: rest) : units
      if case .data(let storage, let host, let layer) = source, !units.isEmpty,
        image.dataStorage.mayClone(from: storage),
        let cloned = try snapshot.inside(
          layer, { () throws(ChainError) in try clone(units, from: storage, at: host, image: image) })
      {
        part = cloned
        copied += part.count
      } else {
        copied += try copyThroughBuffer(part, to: end, image: image, snapshot: snapshot)
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

  private func copyThroughBuffer(
    _ range: GuestRange, to end: Int, image: any WritableImage, snapshot: ChainSnapshot
  ) throws(ChainError) -> ByteCount {
    let bytes = try view(of: range, in: snapshot, to: end)
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
