import HostStorage
import ImageFormat
import Synchronization

/// The one owner of an image's first sector: nothing else writes it.
///
/// Every change is a whole 512-byte sector, made from the last one that is known to be on the host, written and synced.
/// A change that failed is not remembered, so that it cannot leak into the next one.
final class HeaderSector: Sendable {
  private let storage: any Storage
  /// The first cluster as it is on the host.
  private let current: Mutex<[UInt8]>

  static let size: ByteCount = 512

  init(header: Qcow2Header, storage: any Storage) {
    self.storage = storage
    current = Mutex(header.firstCluster)
  }

  /// Changes fields of the header, durably. On an error the old sector is put back; where that fails too, the error's code is
  /// `.outcomeUnknown`.
  func update(_ change: (inout [UInt8]) -> Void) throws(ImageError) {
    try current.withLock { (cluster) throws(ImageError) in
      var sector = Array(cluster.prefix(Self.size.bytes))
      change(&sector)
      try replace(in: &cluster, with: sector)
    }
  }

  /// Says whether the header can record `backing`.
  func check(backing: RecordedBacking?) throws(ImageError) {
    _ = try current.withLock { (cluster) throws(ImageError) in try layout(of: cluster, recording: backing) }
  }

  /// Records `backing`: first its name, where nothing points to yet, then sector 0.
  func record(backing: RecordedBacking?) throws(ImageError) {
    try current.withLock { (cluster) throws(ImageError) in
      let layout = try layout(of: cluster, recording: backing)
      if let name = layout.name {
        do throws(StorageError) {
          try storage.write(name.bytes.span, at: HostOffset(name.position))
          try storage.sync()
        } catch {
          throw ImageError(error)
        }
        cluster = layout.applied(to: cluster, switched: false)
      }
      try replace(in: &cluster, with: layout.sector)
    }
  }

  /// Removes the bitmaps, which the caller is about to free: the feature bit, and the extension where that can be done.
  func dropBitmaps() throws(ImageError) {
    let header = try current.withLock { (cluster) throws(ImageError) in try parse(cluster) }
    let without = header.layoutWithoutBitmaps()
    try update { sector in
      if let without { sector = without }
      let bits = BigEndian.load(UInt64.self, from: sector.span, at: Field.autoclear)
      BigEndian.store(bits & ~FeatureBits.Autoclear.bitmaps, into: &sector, at: Field.autoclear)
    }
  }

  private func layout(of cluster: [UInt8], recording backing: RecordedBacking?) throws(ImageError) -> HeaderLayout {
    let header = try parse(cluster)
    do {
      return try header.layout(recording: backing)
    } catch {
      throw ImageError(error.code, path: storage.path, reason: error.reason)
    }
  }

  private func parse(_ cluster: [UInt8]) throws(ImageError) -> Qcow2Header {
    do throws(HeaderFault) {
      return try Qcow2Header(firstCluster: cluster, fileSize: ByteCount(.max))
    } catch {
      throw ImageError(error.code, path: storage.path, reason: error.reason)
    }
  }

  private func replace(in cluster: inout [UInt8], with sector: [UInt8]) throws(ImageError) {
    do throws(StorageError) {
      try storage.write(sector.span, at: HostOffset(0))
      try storage.sync()
      cluster.replaceSubrange(0..<sector.count, with: sector)
    } catch {
      throw putBack(Array(cluster.prefix(sector.count)), after: error)
    }
  }

  /// After a failed write the host may hold the old sector or the new one: writes the old one and reads it back. What the
  /// host reads back decides: one that refuses both has not changed. A failed sync cannot be taken back, since the host
  /// forgets which pages it had not written.
  private func putBack(_ sector: [UInt8], after error: StorageError) -> ImageError {
    // A file that was cut off was not written at all.
    if error.code == .cut && error.operation == "write" { return ImageError(error) }
    do throws(StorageError) {
      guard error.code != .syncLost, error.operation != "sync" else { throw error }
      try? storage.write(sector.span, at: HostOffset(0))
      try storage.sync()
      let found = try storage.bytes(ByteCount(sector.count), at: HostOffset(0))
      guard found == sector else { throw error }
      return ImageError(error)
    } catch {
      return ImageError(
        .outcomeUnknown, path: storage.path, reason: "the header may or may not have been changed", cause: error)
    }
  }
}

extension HeaderSector {
  /// Positions of the fields that change (specification, "Header").
  enum Field {
    static let backingOffset = 8
    static let backingSize = 16
    static let refcountTableOffset = 48
    static let refcountTableClusters = 56
    static let incompatible = 72
    static let autoclear = 88
  }

  func clearIncompatible(_ bits: UInt64) throws(ImageError) {
    try update { sector in
      let old = BigEndian.load(UInt64.self, from: sector.span, at: Field.incompatible)
      BigEndian.store(old & ~bits, into: &sector, at: Field.incompatible)
    }
  }

  func clearAutoclear(keeping bits: UInt64) throws(ImageError) {
    try update { sector in
      let old = BigEndian.load(UInt64.self, from: sector.span, at: Field.autoclear)
      BigEndian.store(old & bits, into: &sector, at: Field.autoclear)
    }
  }

  func setRefcountTable(at offset: HostOffset, clusters: Int) throws(ImageError) {
    try update { sector in
      BigEndian.store(UInt64(offset.bytes), into: &sector, at: Field.refcountTableOffset)
      BigEndian.store(UInt32(clusters), into: &sector, at: Field.refcountTableClusters)
    }
  }
}
