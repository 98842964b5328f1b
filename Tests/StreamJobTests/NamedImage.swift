import BackingChain
import HostStorage
import ImageFormat

/// Nothing but a name: a job never looks into an image, it asks the chain.
final class NamedImage: Image {
  let format = "raw"
  let virtualSize: ByteCount = 0
  let clusterSize: ByteCount = 1
  let backing: RecordedBacking? = nil
  let storage: any Storage = UntouchedStorage()
  var dataStorage: any Storage { storage }
  func mapping(at offset: GuestOffset, limit: ByteCount) -> Run { Run(.unallocated, count: limit) }
  func inflate(_ cluster: CompressedCluster) -> [UInt8] { [] }
}

/// Refuses everything.
private final class UntouchedStorage: Storage {
  let path = "untouched"
  let isReadOnly = true
  private var refusal: StorageError { StorageError(errno: 5, operation: "touch", path: path) }

  func status() throws(StorageError) -> StorageStatus { throw refusal }
  func space() throws(StorageError) -> (free: ByteCount, total: ByteCount) { throw refusal }
  func read(_ count: ByteCount, at: HostOffset, into: inout OutputSpan<UInt8>) throws(StorageError) { throw refusal }
  func write(_ bytes: Span<UInt8>, at offset: HostOffset) throws(StorageError) { throw refusal }
  func zero(_ range: HostRange) throws(StorageError) { throw refusal }
  func punch(_ range: HostRange) throws(StorageError) { throw refusal }
  func reserve(_ range: HostRange) throws(StorageError) { throw refusal }
  func resize(to size: ByteCount) throws(StorageError) { throw refusal }
  func copy(_ count: ByteCount, from: any Storage, at: HostOffset, to: HostOffset) throws(StorageError) -> ByteCount {
    throw refusal
  }
  func sync() throws(StorageError) { throw refusal }
  func extent(at offset: HostOffset, limit: ByteCount) throws(StorageError) -> StorageExtent { throw refusal }
  func lock(_ mode: ImageLock) throws(StorageError) { throw refusal }
  func close() {}
}
