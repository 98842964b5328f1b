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

extension HeaderLayout {
  /// The first cluster, which is `old` now, with the name written; and, `switched`, with the new sector, too.
  func applied(to old: [UInt8], switched: Bool = true) -> [UInt8] {
    var cluster = old
    if let name {
      let missing = name.position + name.bytes.count - cluster.count
      if missing > 0 { cluster += [UInt8](repeating: 0, count: missing) }
      cluster.replaceSubrange(name.position..<(name.position + name.bytes.count), with: name.bytes)
    }
    if switched { cluster.replaceSubrange(0..<sector.count, with: sector) }
    return cluster
  }
}

// The switch of the backing file by one sector. Everything that changes has to lie in sector 0, but for a new name, which
// is written beforehand into unused space. Three ways are tried, the one that keeps most first:
//
//   1. the extensions written anew, if they end within sector 0;
//   2. the extensions left where they are, the backing format changed in its place;
//   3. as 1, without the feature name table, which is a comfort only and the one large extension.
//
// Whatever comes out is parsed before it may be written, and has to say what was asked and nothing else.
extension Qcow2Header {
  /// A first sector that lacks the name: with these extensions, where nothing belongs to them from `end` on.
  private struct Draft {
    var sector: [UInt8]
    var extensions: [HeaderExtension]
    var end: Int
  }

  func layout(recording backing: RecordedBacking?) throws(HeaderFault) -> HeaderLayout {
    if let backing { try checkName(backing) }
    var kept = extensions.filter { $0.kind != HeaderExtension.Kind.backingFormat }
    if !hasBitmaps { kept.removeAll { $0.kind == HeaderExtension.Kind.bitmaps } }
    if let format = backing?.format {
      let item = HeaderExtension(kind: HeaderExtension.Kind.backingFormat, data: Array(format.utf8), position: 0)
      kept.insert(item, at: 0)
    }
    let lean = kept.filter { $0.kind != HeaderExtension.Kind.featureNames }
    for case let draft? in [rewritten(with: kept), edited(recording: backing), rewritten(with: lean)] {
      if let layout = place(backing?.name, in: draft), yields(layout, backing, draft.extensions) { return layout }
    }
    throw HeaderFault(.noSpace, "its header has no room for this backing file's name")
  }

  /// The first sector without its bitmaps, which have been dropped; nil where it cannot be done within the sector.
  func layoutWithoutBitmaps() -> [UInt8]? {
    let kept = extensions.filter { $0.kind != HeaderExtension.Kind.bitmaps }
    let lean = kept.filter { $0.kind != HeaderExtension.Kind.featureNames }
    for case let draft? in [rewritten(with: kept), rewritten(with: lean)] {
      var layout = HeaderLayout(sector: draft.sector)
      for position in nameRange where position < layout.sector.count {
        layout.sector[position] = firstCluster[position]
      }
      let bits = autoclear & ~FeatureBits.Autoclear.bitmaps
      if version >= 3 { BigEndian.store(bits, into: &layout.sector, at: HeaderSector.Field.autoclear) }
      if yields(layout, backing, draft.extensions, except: [HeaderSector.Field.autoclear..<96]) { return layout.sector }
    }
    return nil
  }

  /// Whether the header, once `layout` is written, says what was asked: this backing file, these extensions, ended by a marker,
  /// and all else as it is now. And whether it says what it does now while only the name is written.
  private func yields(
    _ layout: HeaderLayout, _ backing: RecordedBacking?, _ extensions: [HeaderExtension], except: [Range<Int>] = []
  ) -> Bool {
    func parsed(switched: Bool) -> Qcow2Header? {
      try? Qcow2Header(
        firstCluster: layout.applied(to: firstCluster, switched: switched), fileSize: ByteCount(.max))
    }
    guard let between = parsed(switched: false), between.backing == self.backing,
      between.extensionArea == extensionArea, let after = parsed(switched: true)
    else { return false }
    let fields = [HeaderSector.Field.backingOffset..<HeaderSector.Field.backingSize + 4] + except
    return after.backing == backing && after.extensionArea.hasEndMarker
      && after.extensions.map(\.content) == extensions.map(\.content)
      && after.header(without: fields) == header(without: fields)
  }

  /// The fixed part, with these bytes cleared.
  private func header(without fields: [Range<Int>]) -> [UInt8] {
    var bytes = Array(firstCluster.prefix(headerLength))
    for position in fields.joined() where position < bytes.count { bytes[position] = 0 }
    return bytes
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

  /// Sector 0 with `extensions` written right behind the header.
  private func rewritten(with extensions: [HeaderExtension]) -> Draft? {
    var sector = Array(firstCluster.prefix(headerLength))
    for item in extensions { item.append(to: &sector) }
    sector += [UInt8](repeating: 0, count: 8)
    let end = sector.count
    guard end <= sectorSize else { return nil }
    sector += [UInt8](repeating: 0, count: sectorSize - end)
    return Draft(sector: sector, extensions: extensions, end: end)
  }

  /// Sector 0 with all extensions in their places and the backing format, if one is asked for, changed where it stands. Their
  /// end has to be marked: the name, which may go elsewhere, marks it no longer.
  private func edited(recording backing: RecordedBacking?) -> Draft? {
    guard extensionArea.hasEndMarker else { return nil }
    var draft = Draft(sector: Array(firstCluster.prefix(sectorSize)), extensions: extensions, end: extensionArea.end)
    guard let backing else { return draft }
    let index = extensions.firstIndex { $0.kind == HeaderExtension.Kind.backingFormat }
    guard let format = backing.format else { return index == nil ? draft : nil }
    guard let index else { return nil }
    let old = extensions[index]
    let new = HeaderExtension(kind: old.kind, data: Array(format.utf8), position: old.position)
    guard old.footprint == new.footprint, old.position + old.footprint <= sectorSize else { return nil }
    var bytes: [UInt8] = []
    new.append(to: &bytes)
    draft.sector.replaceSubrange(old.position..<(old.position + old.footprint), with: bytes)
    draft.extensions[index] = new
    return draft
  }

  /// Completes a sector with the name: inside it if there is room, otherwise in space that the old header does not use.
  private func place(_ name: [UInt8]?, in draft: Draft) -> HeaderLayout? {
    var layout = HeaderLayout(sector: draft.sector)
    BigEndian.store(0 as UInt64, into: &layout.sector, at: HeaderSector.Field.backingOffset)
    BigEndian.store(0 as UInt32, into: &layout.sector, at: HeaderSector.Field.backingSize)
    guard let name else { return layout }
    let position: Int
    if draft.end + name.count <= sectorSize {
      position = draft.end
      layout.sector.replaceSubrange(position..<(position + name.count), with: name)
    } else {
      let floor = max(draft.end, extensionArea.end, sectorSize)
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

extension HeaderExtension {
  /// What it says, wherever it stands.
  fileprivate var content: HeaderExtension { HeaderExtension(kind: kind, data: data, position: 0) }
}
