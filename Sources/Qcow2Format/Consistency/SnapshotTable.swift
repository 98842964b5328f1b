import HostStorage
import ImageFormat

/// An internal snapshot: which L1 table it has (specification, "Snapshot table").
struct Snapshot {
  let l1Offset: HostOffset
  let l1Count: Int
  /// The size of the guest's disk when it was taken; nil in entries that do not record it.
  let diskSize: ByteCount?
}

extension Qcow2Header {
  /// The internal snapshots, and the bytes that their table takes.
  func snapshots(in storage: any Storage) throws(ImageError) -> (list: [Snapshot], tableSize: ByteCount) {
    func cutOff() -> ImageError { ImageError(.corrupt, path: storage.path, reason: "its snapshot table is cut off") }
    var list: [Snapshot] = []
    var position = snapshotsOffset
    for _ in 0..<snapshotCount {
      let head = try read(40, at: position, from: storage)
      guard head.count == 40 else { throw cutOff() }
      let idLength = Int(BigEndian.load(UInt16.self, from: head.span, at: 12))
      let nameLength = Int(BigEndian.load(UInt16.self, from: head.span, at: 14))
      let extraLength = Int(BigEndian.load(UInt32.self, from: head.span, at: 36))
      guard extraLength <= 1024 else {
        throw ImageError(.corrupt, path: storage.path, reason: "a snapshot's extra data is too large")
      }
      let extra = try read(extraLength, at: position + 40, from: storage)
      guard extra.count == extraLength else { throw cutOff() }
      let offset = BigEndian.load(UInt64.self, from: head.span, at: 0)
      let count = Int(BigEndian.load(UInt32.self, from: head.span, at: 8))
      guard let start = Int(exactly: offset), start % clusterSize.bytes == 0, start < Limit.hostOffset,
        count <= Limit.l1Bytes / 8
      else { throw ImageError(.corrupt, path: storage.path, reason: "a snapshot's L1 table is out of bounds") }
      let size = extraLength >= 16 ? Int(exactly: BigEndian.load(UInt64.self, from: extra.span, at: 8)) : nil
      // An L1 table of the largest size maps less.
      guard size ?? 0 <= Int.max - clusterSize.bytes else {
        throw ImageError(.corrupt, path: storage.path, reason: "a snapshot's disk is larger than any image can be")
      }
      list.append(Snapshot(l1Offset: HostOffset(start), l1Count: count, diskSize: size.map { ByteCount($0) }))
      position += ByteCount((40 + extraLength + idLength + nameLength + 7) / 8 * 8)
    }
    return (list, position - snapshotsOffset)
  }

  /// Whether a snapshot has guest ranges that only the backing file holds.
  func snapshotsNeedBacking(in storage: any Storage) throws(ImageError) -> Bool {
    guard backing != nil else { return false }
    let rules = EntryRules(self)
    for snapshot in try snapshots(in: storage).list {
      let size = snapshot.diskSize ?? virtualSize
      let clusters = (size.bytes + clusterSize.bytes - 1) / clusterSize.bytes
      let l1 = try words(snapshot.l1Count, at: snapshot.l1Offset, from: storage)
      for index in 0..<((clusters + entriesPerL2 - 1) / entriesPerL2) {
        guard index < l1.count, l1[index] & L2Entry.Bits.offset != 0 else { return true }
        let home = HostOffset(Int(l1[index] & L2Entry.Bits.offset))
        let words = SparseWords(try words(clusterSize.bytes / 8, at: home, from: storage))
        for entry in 0..<min(entriesPerL2, clusters - index * entriesPerL2) {
          guard entry * wordsPerEntry < words.count else { return true }
          let decoded = rules.entry(entry, in: words)
          let parts = 0..<(decoded.isCompressed ? 1 : subclusters)
          if parts.contains(where: { rules.mapping(of: decoded, subcluster: $0) == .unallocated }) { return true }
        }
      }
    }
    return false
  }

  /// Up to `count` 64-bit words of the image file.
  func words(_ count: Int, at offset: HostOffset, from storage: any Storage) throws(ImageError) -> [UInt64] {
    let bytes = try read(count * 8, at: offset, from: storage)
    return BigEndian.words(in: bytes.span)
  }

  /// Up to `count` bytes of the image file.
  func read(_ count: Int, at offset: HostOffset, from storage: any Storage) throws(ImageError) -> [UInt8] {
    do {
      return try storage.bytes(ByteCount(count), at: offset)
    } catch {
      throw ImageError(error)
    }
  }
}
