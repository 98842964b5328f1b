import Glibc
import HostStorage
package import ImageFormat

// Guest writes. The active image prepares host clusters for the first part of the range, the bytes go there together with
// what fills the allocation units around them, and the new mapping is published; then the next part.
extension BackingChain {
  /// Writes `bytes` at `offset`; all of them lie within the disk. After an error every sector is old or new.
  package func write(_ bytes: Span<UInt8>, at offset: GuestOffset) throws(ChainError) {
    try retryingWhenFull { () throws(ChainError) in
      var done = 0
      while done < bytes.count {
        let rest = bytes.extracting(done..<bytes.count)
        let start = offset + ByteCount(done)
        done += try request { (snapshot) throws(ChainError) in
          try writePart(rest, at: start, snapshot: snapshot).bytes
        }
      }
    }
    flusher?.note(allocated: 0)
  }

  /// Makes `range` read as zeros. `reserving` keeps the host space that it has; otherwise it is given back.
  package func zero(_ range: GuestRange, reserving: Bool) throws(ChainError) {
    let image = try writable()
    try retryingWhenFull { () throws(ChainError) in
      var rest = range
      while !rest.isEmpty {
        let done = try request { (snapshot) throws(ChainError) in
          try zeroPart(rest, reserving: reserving, image: image, snapshot: snapshot)
        }
        rest = GuestRange(from: rest.start + done, to: rest.end)
      }
    }
    // A zero cluster costs an entry, whatever it covers.
    flusher?.note(allocated: ByteCount(4096))
  }

  func writable() throws(ChainError) -> any WritableImage {
    guard let active else {
      let path = snapshot.layers[0].path
      throw ChainError(.readOnly, path: path, message: "\(path) is mounted read-only")
    }
    return active
  }

  /// Clusters that were dropped come free with a flush: where there was no room, tries once more after one.
  private func retryingWhenFull(_ body: () throws(ChainError) -> Void) throws(ChainError) {
    do {
      try body()
    } catch  where error.isOutOfSpace {
      try flush()
      try body()
    }
  }

  private func writePart(_ bytes: Span<UInt8>, at offset: GuestOffset, snapshot: ChainSnapshot)
    throws(ChainError) -> ByteCount
  {
    let image = try writable()
    let range = GuestRange(at: offset, count: ByteCount(bytes.count))
    let inPlace = try ranges.withLock(on: range, exclusive: false) { () throws(ChainError) in
      try writeInPlace(bytes, range: range, image: image)
    }
    if let inPlace { return inPlace }
    // One lock on a long range is one wait; the plan may still cover only its beginning.
    return try ranges.withLock(on: range, exclusive: true) { () throws(ChainError) in
      try writeAllocating(bytes, range: range, image: image, snapshot: snapshot)
    }
  }

  /// Writes the first part of `range` if it is data of the active image's own; nil if it is not.
  private func writeInPlace(_ bytes: Span<UInt8>, range: GuestRange, image: any WritableImage)
    throws(ChainError) -> ByteCount?
  {
    let plan: WritePlan?
    do {
      plan = try image.planInPlace(range)
    } catch {
      throw ChainError(error)
    }
    guard let plan else { return nil }
    defer { allocated.note(written: plan.range) }
    try put(bytes.extracting(0..<plan.range.count.bytes), at: plan.target, in: image)
    return plan.range.count
  }

  /// Writes the first part of `range`, whose clusters are held exclusively.
  func writeAllocating(
    _ bytes: Span<UInt8>, range: GuestRange, image: any WritableImage, snapshot: ChainSnapshot
  ) throws(ChainError) -> ByteCount {
    let plan: WritePlan
    do {
      plan = try image.prepare(range)
    } catch {
      throw ChainError(error)
    }
    defer { if !plan.allocates { allocated.note(written: plan.range) } }
    do throws(ChainError) {
      let head = try view(of: GuestRange(from: plan.filled.start, to: plan.range.start), in: snapshot)
      let tail = try view(of: GuestRange(from: plan.range.end, to: plan.filled.end), in: snapshot)
      let body = bytes.extracting(0..<plan.range.count.bytes)
      if head.isEmpty && tail.isEmpty {
        try put(body, at: plan.target, in: image)
      } else {
        // Zeros may keep a host cluster that a durable mapping still shows: no sector there may be half of a write.
        let whole = [UInt8](capacity: plan.filled.count.bytes) { output in
          output.append(copying: head.span)
          output.append(copying: body)
          output.append(copying: tail.span)
        }
        try put(whole.span, at: plan.target, in: image)
      }
    } catch {
      if plan.allocates { image.abandon(plan) }
      throw error
    }
    if plan.allocates {
      do {
        try image.publish(plan)
      } catch {
        throw ChainError(error)
      }
      noteAllocated(plan.filled.count)
    }
    return plan.range.count
  }

  func noteAllocated(_ count: ByteCount) {
    allocated.note(count)
    flusher?.note(allocated: count)
  }

  /// The bytes that the guest reads in `range` now, all of which lie in layers up to `end` (nil: anywhere); zeros past the end
  /// of the disk.
  func view(of range: GuestRange, in snapshot: ChainSnapshot, to end: Int? = nil) throws(ChainError) -> [UInt8] {
    let disk = GuestRange(at: GuestOffset(0), count: virtualSize)
    return try [UInt8](capacity: range.count.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try snapshot.read(range.clamped(to: disk), to: end ?? snapshot.layers.count, into: &output)
      output.append(repeating: 0, count: output.freeCapacity)
    }
  }

  func put(_ bytes: Span<UInt8>, at host: HostOffset, in image: any WritableImage) throws(ChainError) {
    if bytes.isEmpty { return }
    do {
      try image.dataStorage.write(bytes, at: host)
    } catch {
      throw ChainError(error)
    }
  }

  /// Zeroes the first part of `range`: up to the next allocation unit, or as many whole ones as the image can at once.
  private func zeroPart(
    _ range: GuestRange, reserving: Bool, image: any WritableImage, snapshot: ChainSnapshot
  ) throws(ChainError) -> ByteCount {
    let whole = wholeUnits(of: range, unit: image.allocationUnit)
    let firstUnit = range.start.roundedDown(to: image.allocationUnit)
    let first = GuestRange(at: firstUnit, count: image.allocationUnit).clamped(to: range)
    return try ranges.withLock(on: whole ?? first, exclusive: true) { () throws(ChainError) in
      if let whole {
        do throws(ImageError) {
          let done = try image.zero(whole, reserving: reserving, hiding: snapshot.layers.count > 1)
          if done.bytes > 0 {
            // What is reserved may be zeros as data on the host.
            if reserving { allocated.note(done) } else { allocated.noteFreed() }
            return min(done, range.count)
          }
        } catch {
          throw ChainError(error)
        }
      }
      return try writeZeros(first, image: image, snapshot: snapshot)
    }
  }

  /// The whole allocation units that `range` begins with, counting one that the end of the disk cuts off.
  private func wholeUnits(of range: GuestRange, unit: ByteCount) -> GuestRange? {
    guard range.start.remainder(in: unit).bytes == 0 else { return nil }
    let reachesEnd = range.end.bytes == virtualSize.bytes
    let count = reachesEnd ? range.count.roundedUp(to: unit) : range.count.roundedDown(to: unit)
    return count.bytes > 0 ? GuestRange(at: range.start, count: count) : nil
  }

  /// Writes zeros as data where it does not read as zeros already.
  private func writeZeros(_ range: GuestRange, image: any WritableImage, snapshot: ChainSnapshot)
    throws(ChainError) -> ByteCount
  {
    let (source, count) = try snapshot.source(at: range.start, limit: range.count, to: snapshot.layers.count)
    switch source {
    case .zero, .nowhere: return count
    case .data, .compressed: break
    }
    let zeros = [UInt8](repeating: 0, count: count.bytes)
    return try writeAllocating(
      zeros.span, range: GuestRange(at: range.start, count: count), image: image, snapshot: snapshot)
  }
}

extension ChainError {
  /// No room on the host, or in its owner's quota, or no cluster left in the image.
  package var isOutOfSpace: Bool { code == .noSpace || storage.map { [ENOSPC, EDQUOT].contains($0.errno) } ?? false }
}
