import HostStorage
import ImageFormat

/// A first sector that is to be, and what must lie elsewhere in the first cluster before it may be written.
struct HeaderLayout: Equatable {
  /// The whole of sector 0.
  var sector: [UInt8]
  /// A name outside sector 0: where, and its bytes. It lies where neither the old header nor the new one has anything.
  var name: PlacedName?

  struct PlacedName: Equatable {
    let position: Int
    let bytes: [UInt8]
  }
}

// The switch of the backing file by one sector. Everything that changes has to lie in sector 0, but for a new name, which
// is written beforehand into unused space. Three ways are tried, the one that keeps most first:
//
//   1. the extensions written anew, if they end within sector 0;
//   2. the extensions left where they are, the backing format changed in its place;
//   3. as 1, without the feature name table, which is a comfort only and the one large extension.
extension Qcow2Header {
  func layout(recording backing: RecordedBacking?) throws(HeaderFault) -> HeaderLayout {
    if let backing { try checkName(backing) }
    var kept = extensions.filter { $0.kind != HeaderExtension.Kind.backingFormat }
    if !hasBitmaps { kept.removeAll { $0.kind == HeaderExtension.Kind.bitmaps } }
    if let format = backing?.format {
      let item = HeaderExtension(kind: HeaderExtension.Kind.backingFormat, data: Array(format.utf8), position: 0)
      kept.insert(item, at: 0)
    }
    let lean = kept.filter { $0.kind != HeaderExtension.Kind.featureNames }
    let candidates = [rewritten(with: kept), edited(recording: backing), rewritten(with: lean)]
    for case let (sector, end)? in candidates {
      if let layout = place(backing?.name, in: sector, extensionsEnd: end) { return layout }
    }
    throw HeaderFault(.noSpace, "its header has no room for this backing file's name")
  }

  /// The first sector without its bitmaps, which have been dropped; nil where it cannot be done within the sector.
  func layoutWithoutBitmaps() -> [UInt8]? {
    let kept = extensions.filter { $0.kind != HeaderExtension.Kind.bitmaps }
    let lean = kept.filter { $0.kind != HeaderExtension.Kind.featureNames }
    for case let (sector, end)? in [rewritten(with: kept), rewritten(with: lean)] {
      guard nameRange.isEmpty || end <= nameRange.lowerBound else { continue }
      var sector = sector
      for position in nameRange where position < sector.count { sector[position] = firstCluster[position] }
      return sector
    }
    return nil
  }

  private func checkName(_ backing: RecordedBacking) throws(HeaderFault) {
    guard backing.name.count <= Self.longestName else {
      throw HeaderFault(.nameTooLong, "a backing file's name has at most \(Self.longestName) bytes")
    }
    guard !isDataFileRaw else {
      throw HeaderFault(.unsupported, "its external data file is raw, so it cannot have a backing file")
    }
  }

  private var sectorSize: Int { min(HeaderSector.size.bytes, firstCluster.count) }

  /// Sector 0 with `extensions` written right behind the header, and where they end.
  private func rewritten(with extensions: [HeaderExtension]) -> (sector: [UInt8], end: Int)? {
    var sector = Array(firstCluster.prefix(headerLength))
    for item in extensions { item.append(to: &sector) }
    sector += [UInt8](repeating: 0, count: 8)
    let end = sector.count
    guard end <= sectorSize else { return nil }
    sector += [UInt8](repeating: 0, count: sectorSize - end)
    return (sector, end)
  }

  /// Sector 0 with all extensions in their places and the backing format, if one is asked for, changed where it stands.
  private func edited(recording backing: RecordedBacking?) -> (sector: [UInt8], end: Int)? {
    let endMarker = extensionsEnd - 8
    guard endMarker >= headerLength, firstCluster[endMarker..<extensionsEnd].prefix(4).allSatisfy({ $0 == 0 }) else {
      return nil
    }
    var sector = Array(firstCluster.prefix(sectorSize))
    guard let backing else { return (sector, extensionsEnd) }
    let old = extensions.first { $0.kind == HeaderExtension.Kind.backingFormat }
    guard let format = backing.format else { return old == nil ? (sector, extensionsEnd) : nil }
    let new = HeaderExtension(kind: HeaderExtension.Kind.backingFormat, data: Array(format.utf8), position: 0)
    guard let old, old.footprint == new.footprint, old.position + old.footprint <= sectorSize else { return nil }
    var bytes: [UInt8] = []
    new.append(to: &bytes)
    sector.replaceSubrange(old.position..<(old.position + old.footprint), with: bytes)
    return (sector, extensionsEnd)
  }

  /// Completes `sector` with the name: inside it if there is room, otherwise in space that the old header does not use.
  private func place(_ name: [UInt8]?, in sector: [UInt8], extensionsEnd end: Int) -> HeaderLayout? {
    var layout = HeaderLayout(sector: sector)
    BigEndian.store(0 as UInt64, into: &layout.sector, at: HeaderSector.Field.backingOffset)
    BigEndian.store(0 as UInt32, into: &layout.sector, at: HeaderSector.Field.backingSize)
    guard let name else { return layout }
    let position: Int
    if end + name.count <= sectorSize {
      position = end
      layout.sector.replaceSubrange(end..<(end + name.count), with: name)
    } else {
      let floor = max(end, extensionsEnd, sectorSize)
      guard let gap = gap(of: name.count, from: (floor + 7) / 8 * 8) else { return nil }
      position = gap
      layout.name = HeaderLayout.PlacedName(position: gap, bytes: name)
    }
    BigEndian.store(UInt64(position), into: &layout.sector, at: HeaderSector.Field.backingOffset)
    BigEndian.store(UInt32(name.count), into: &layout.sector, at: HeaderSector.Field.backingSize)
    return layout
  }

  /// `count` bytes of the first cluster from `floor` on that do not touch the old name.
  private func gap(of count: Int, from floor: Int) -> Int? {
    if nameRange.isEmpty || floor + count <= nameRange.lowerBound || nameRange.upperBound <= floor {
      return floor + count <= clusterSize.bytes ? floor : nil
    }
    let behind = (nameRange.upperBound + 7) / 8 * 8
    return behind + count <= clusterSize.bytes ? behind : nil
  }
}
