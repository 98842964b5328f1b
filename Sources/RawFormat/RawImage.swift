package import HostStorage
package import ImageFormat

/// A raw image; read-only where its storage is.
package final class RawImage: WritableImage {
  package let format = "raw"
  package let virtualSize: ByteCount
  package let clusterSize: ByteCount = 1
  package let allocationUnit: ByteCount = 1
  package let backing: RecordedBacking? = nil
  package let storage: any Storage
  package let requests = RequestTracker()

  /// The virtual size is the file's or the device's size to the byte; it need not be whole sectors.
  package init(_ storage: any Storage) throws(ImageError) {
    self.storage = storage
    do {
      virtualSize = try storage.status().size
    } catch {
      throw ImageError(error)
    }
  }

  package var dataStorage: any Storage { storage }

  /// Always data, at the same offset.
  package func mapping(at offset: GuestOffset, limit: ByteCount) -> Run {
    Run(.data(at: HostOffset(offset.bytes)), count: limit)
  }

  /// Never called: no mapping is compressed.
  package func inflate(_ cluster: CompressedCluster) -> [UInt8] {
    preconditionFailure("a raw image has no compressed clusters")
  }

  /// Always in place, all of it.
  package func planInPlace(_ range: GuestRange) -> WritePlan? { prepare(range) }

  /// Always in place, all of it.
  package func prepare(_ range: GuestRange) -> WritePlan {
    WritePlan(range: range, filled: range, target: HostOffset(range.start.bytes), place: .inPlace)
  }

  /// Nothing to do, as for every plan in place.
  package func publish(_ plan: WritePlan) {}

  /// Nothing was taken.
  package func abandon(_ plan: WritePlan) {}

  /// Zeroes on the host, or punches a hole; seen at once.
  package func zero(_ range: GuestRange, reserving: Bool, hiding: Bool) throws(ImageError) -> ByteCount {
    let place = HostRange(at: HostOffset(range.start.bytes), count: range.count)
    do {
      if reserving { try storage.zero(place) } else { try storage.punch(place) }
      return range.count
    } catch {
      throw ImageError(error)
    }
  }

  /// One sync of the file.
  package func flush() throws(ImageError) {
    do {
      try storage.sync()
    } catch {
      throw ImageError(error)
    }
  }

  /// Always refused: there is no header to record it in.
  package func check(backing: RecordedBacking?) throws(ImageError) {
    throw noHeader
  }

  /// Always refused: there is no header.
  package func record(backing: RecordedBacking?) throws(ImageError) {
    throw noHeader
  }

  /// Nothing to tidy up beyond a flush.
  package func finish() throws(ImageError) {
    try flush()
  }

  private var noHeader: ImageError {
    ImageError(.unsupported, path: storage.path, reason: "a raw image has no header that could name a backing file")
  }
}
