package import HostStorage
package import ImageFormat

/// A qcow2 image for reading.
package final class Qcow2Image: Image {
  package let header: Qcow2Header
  package let storage: any Storage
  package let dataStorage: any Storage
  let tables: MappingTables
  private let inflater: Inflater

  package var format: String { "qcow2" }
  package var virtualSize: ByteCount { header.virtualSize }
  package var clusterSize: ByteCount { header.clusterSize }
  package var backing: RecordedBacking? { header.backing }

  /// `dataStorage` is the external data file, for images that use one. `budget` bounds the L2 tables that are kept.
  package init(header: Qcow2Header, storage: any Storage, dataStorage: (any Storage)?, budget: TableBudget)
    throws(ImageError)
  {
    precondition(header.usesDataFile == (dataStorage != nil), "an external data file is given exactly when it is used")
    self.header = header
    self.storage = storage
    self.dataStorage = dataStorage ?? storage
    tables = try MappingTables(header: header, storage: storage, budget: budget)
    inflater = Inflater(header: header, storage: storage)
  }

  package func mapping(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run {
    let rest = GuestOffset(virtualSize.bytes) - offset
    return try tables.run(at: offset, limit: min(limit, rest))
  }

  package func inflate(_ cluster: CompressedCluster) throws(ImageError) -> [UInt8] {
    try inflater.inflate(cluster)
  }
}
