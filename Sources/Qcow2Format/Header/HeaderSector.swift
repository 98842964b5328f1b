import HostStorage
import ImageFormat
import Synchronization

/// The one owner of an image's first sector: nothing else writes it.
///
/// Every change is a whole 512-byte sector, made from the last one that is known to be on the host, written and synced.
/// A change that failed is not remembered, so that it cannot leak into the next one.
final class HeaderSector: Sendable {
  private let storage: any Storage
  private let current: Mutex<[UInt8]>

  static let size: ByteCount = 512

  init(header: Qcow2Header, storage: any Storage) {
    self.storage = storage
    current = Mutex(Array(header.firstCluster.prefix(Self.size.bytes)))
  }

  /// The sector as it is on the host.
  var bytes: [UInt8] { current.withLock { $0 } }

  /// Changes fields of the header, durably. On an error the old sector is put back; where that fails too, the error's code is
  /// `.outcomeUnknown`.
  func update(_ change: (inout [UInt8]) -> Void) throws(ImageError) {
    try current.withLock { (sector) throws(ImageError) in
      var changed = sector
      change(&changed)
      try replace(&sector, with: changed)
    }
  }

  private func replace(_ sector: inout [UInt8], with changed: [UInt8]) throws(ImageError) {
    do throws(StorageError) {
      try storage.write(changed.span, at: HostOffset(0))
      try storage.sync()
      sector = changed
    } catch {
      throw putBack(sector, after: error)
    }
  }

  /// After a failed write the host may hold the old sector or the new one: writes the old one and reads it back. A failed
  /// sync cannot be taken back, since the host forgets which pages it had not written.
  private func putBack(_ sector: [UInt8], after error: StorageError) -> ImageError {
    do throws(StorageError) {
      guard error.code != .syncLost, error.operation != "sync" else { throw error }
      try storage.write(sector.span, at: HostOffset(0))
      try storage.sync()
      let found = try storage.bytes(Self.size, at: HostOffset(0))
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
