import HostStorage
import ImageFormat

/// An internal snapshot: which L1 table it has (specification, "Snapshot table").
struct Snapshot {
  let l1Offset: HostOffset
  let l1Count: Int
  /// The size of the guest's disk when it was taken; nil in entries that do not record it.
  let diskSize: ByteCount?
}

/// An image's internal snapshots as their table tells of them, as far as it can be believed.
struct SnapshotTable {
  var list: [Snapshot] = []
  /// The bytes that it takes.
  var size: ByteCount = 0
  /// What is wrong with it, a clause each. After a fatal one nothing is known of the snapshots that follow.
  var faults: [(reason: String, isFatal: Bool)] = []

  /// QEMU's limit.
  static let largest = ByteCount(64 << 20)
  /// What an entry has before its extra data, its ID and its name.
  static let headLength = 40
  static let longestExtra = 1024
}

extension Qcow2Header {
  /// Reads the snapshot table; throws only where the host cannot be read.
  func snapshotTable(in storage: any Storage) throws(ImageError) -> SnapshotTable {
    var table = SnapshotTable()
    for number in 0..<snapshotCount {
      // The last entry need not be padded.
      table.size = table.size.roundedUp(to: 8)
      let position = snapshotsOffset + table.size
      let head = try read(SnapshotTable.headLength, at: position, from: storage)
      guard head.count == SnapshotTable.headLength else {
        table.faults.append(("its snapshot table is cut off", true))
        break
      }
      let extraLength = Int(BigEndian.load(UInt32.self, from: head.span, at: 36))
      guard extraLength <= SnapshotTable.longestExtra else {
        table.faults.append(("the extra data of snapshot \(number) is too large", true))
        break
      }
      if version >= 3 && extraLength < 16 {
        table.faults.append(("snapshot \(number) does not tell the size of its disk", false))
      }
      let extra = try read(extraLength, at: position + ByteCount(SnapshotTable.headLength), from: storage)
      if let snapshot = snapshot(head: head, extra: extra) {
        table.list.append(snapshot)
      } else {
        table.faults.append(("the L1 table or the disk of snapshot \(number) is out of bounds", true))
      }
      let idLength = Int(BigEndian.load(UInt16.self, from: head.span, at: 12))
      let nameLength = Int(BigEndian.load(UInt16.self, from: head.span, at: 14))
      table.size += ByteCount(SnapshotTable.headLength + extraLength + idLength + nameLength)
      guard table.size <= SnapshotTable.largest else {
        table.faults.append(("its snapshot table is too large", true))
        break
      }
    }
    return table
  }

  private func snapshot(head: [UInt8], extra: [UInt8]) -> Snapshot? {
    let count = Int(BigEndian.load(UInt32.self, from: head.span, at: 8))
    guard let start = Int(exactly: BigEndian.load(UInt64.self, from: head.span, at: 0)),
      start % clusterSize.bytes == 0, start < Limit.hostOffset, count <= Limit.l1Bytes / 8
    else { return nil }
    guard extra.count >= 16 else { return Snapshot(l1Offset: HostOffset(start), l1Count: count, diskSize: nil) }
    // An L1 table of the largest size maps less.
    guard let size = Int(exactly: BigEndian.load(UInt64.self, from: extra.span, at: 8)),
      size <= Int.max - clusterSize.bytes
    else { return nil }
    return Snapshot(l1Offset: HostOffset(start), l1Count: count, diskSize: ByteCount(size))
  }

  /// The internal snapshots of an image whose table can be believed.
  private func snapshots(in storage: any Storage) throws(ImageError) -> [Snapshot] {
    let table = try snapshotTable(in: storage)
    if let fault = table.faults.first(where: \.isFatal) {
      throw ImageError(.corrupt, path: storage.path, reason: fault.reason)
    }
    return table.list
  }

  /// Whether a snapshot has guest ranges that only the backing file holds.
  func snapshotsNeedBacking(in storage: any Storage) throws(ImageError) -> Bool {
    guard backing != nil else { return false }
    let rules = EntryRules(self)
    for snapshot in try snapshots(in: storage) {
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
