package import HostStorage
package import ImageFormat

/// A qcow2 image's header, checked (specification, "Header" and "Header extensions").
package struct Qcow2Header: Sendable {
  /// The four bytes that a qcow2 image begins with.
  package static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xFB]
  /// The longest backing file name.
  package static let longestName = 1023

  package let version: Int
  package let clusterBits: Int
  /// Rounded down to whole sectors, as QEMU does.
  package let virtualSize: ByteCount
  let l1Count: Int
  let l1Offset: HostOffset
  let refcountTableOffset: HostOffset
  let refcountTableClusters: Int
  let snapshotCount: Int
  let snapshotsOffset: HostOffset
  let incompatible: UInt64
  let autoclear: UInt64
  /// A refcount is 2 to the power of this many bits wide.
  package let refcountOrder: Int
  let headerLength: Int
  package let usesZstd: Bool
  let extensionArea: ExtensionArea
  /// Where the backing file's name stands; empty when there is none.
  let nameRange: Range<Int>
  package let backing: RecordedBacking?
  /// The first sector and what else of the first cluster holds extensions and name.
  let firstCluster: [UInt8]

  package var extensions: [HeaderExtension] { extensionArea.extensions }
  package var clusterSize: ByteCount { ByteCount(1 << clusterBits) }
  package var hasExtendedL2: Bool { incompatible & FeatureBits.Incompatible.extendedL2 != 0 }
  package var usesDataFile: Bool { incompatible & FeatureBits.Incompatible.dataFile != 0 }
  package var isDataFileRaw: Bool { autoclear & FeatureBits.Autoclear.rawDataFile != 0 }
  package var isMarkedCorrupt: Bool { incompatible & FeatureBits.Incompatible.corrupt != 0 }
  package var isMarkedDirty: Bool { incompatible & FeatureBits.Incompatible.dirty != 0 }
  /// Whether the image has persistent dirty bitmaps that are kept up to date.
  package var hasBitmaps: Bool { autoclear & FeatureBits.Autoclear.bitmaps != 0 }
  package var hasSnapshots: Bool { snapshotCount > 0 }
  package var hasZeroFlag: Bool { version >= 3 }

  /// The external data file's name, as it stands in its extension.
  package var dataFileName: [UInt8]? {
    extensions.first { $0.kind == HeaderExtension.Kind.dataFile }?.data
  }

  /// Subclusters in a cluster: 32 with extended L2 entries, otherwise 1.
  var subclusters: Int { hasExtendedL2 ? 32 : 1 }
  package var subclusterSize: ByteCount { ByteCount(clusterSize.bytes / subclusters) }
  /// 64-bit words in an L2 entry.
  var wordsPerEntry: Int { hasExtendedL2 ? 2 : 1 }
  var entriesPerL2: Int { clusterSize.bytes / 8 / wordsPerEntry }
  /// Guest bytes that one L2 table maps.
  var l2Reach: ByteCount { ByteCount(entriesPerL2 << clusterBits) }
  var refcountsPerBlock: Int { (clusterSize.bytes * 8) >> refcountOrder }

  /// A word of a table as the offset of a host cluster; nil for 0, for one inside a cluster, and for one past all that an
  /// image can address, with which no sum is safe.
  func clusterOffset(_ word: UInt64) -> HostOffset? {
    guard let offset = Int(exactly: word), offset > 0, offset < Limit.hostOffset else { return nil }
    return offset % clusterSize.bytes == 0 ? HostOffset(offset) : nil
  }

  /// Reads and checks the header of the image in `storage`.
  package static func read(from storage: any Storage) throws(ImageError) -> Qcow2Header {
    let fileSize: ByteCount
    let sector: [UInt8]
    do {
      fileSize = try storage.status().size
      sector = try storage.bytes(ByteCount(512), at: HostOffset(0))
    } catch {
      throw ImageError(error)
    }
    guard sector.count >= 72, Array(sector.prefix(4)) == magic else {
      throw ImageError(.notThisFormat, path: storage.path, reason: "it is not a qcow2 image")
    }
    let bits = Int(BigEndian.load(UInt32.self, from: sector.span, at: 20))
    guard (9...21).contains(bits) else {
      throw ImageError(.corrupt, path: storage.path, reason: "its cluster size is not between 512 bytes and 2 MiB")
    }
    let cluster: [UInt8]
    do {
      cluster = try storage.bytes(ByteCount(1 << bits), at: HostOffset(0))
    } catch {
      throw ImageError(error)
    }
    do throws(HeaderFault) {
      return try Qcow2Header(firstCluster: cluster, fileSize: fileSize)
    } catch {
      throw ImageError(error.code, path: storage.path, reason: error.reason)
    }
  }
}
