import HostStorage
import ImageFormat

/// Nothing but a name: a job never looks into an image, it asks the chain.
final class NamedImage: Image {
  let format = "raw"
  let virtualSize: ByteCount = 0
  let clusterSize: ByteCount = 1
  let backing: RecordedBacking? = nil
  var storage: any Storage { preconditionFailure("a job asks the chain") }
  var dataStorage: any Storage { storage }
  func mapping(at offset: GuestOffset, limit: ByteCount) -> Run { Run(.unallocated, count: limit) }
  func inflate(_ cluster: CompressedCluster) -> [UInt8] { [] }
}
