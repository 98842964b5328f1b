import HostStorage
import ImageFormat
import Qcow2Format

/// An active image whose next look-up can be held, after the request has taken its snapshot and before anything is looked up.
final class HeldImage: WritableImage {
  private let image: Qcow2ActiveImage
  private let gate = Monitor(Gate())

  private struct Gate {
    var holdsNext = false
    var isHolding = false
  }

  init(_ image: Qcow2ActiveImage) { self.image = image }

  func holdNextLookUp() { gate.withLock { $0.holdsNext = true } }
  func awaitHeld() { gate.wait { $0.isHolding ? () : nil } }
  func letGoOn() { gate.withLock { $0.isHolding = false } }

  func mapping(at offset: GuestOffset, limit: ByteCount) throws(ImageError) -> Run {
    let isHeld = gate.withLock { gate in
      defer { gate.holdsNext = false }
      if gate.holdsNext { gate.isHolding = true }
      return gate.holdsNext
    }
    if isHeld { gate.wait { $0.isHolding ? nil : () } }
    return try image.mapping(at: offset, limit: limit)
  }

  var format: String { image.format }
  var virtualSize: ByteCount { image.virtualSize }
  var clusterSize: ByteCount { image.clusterSize }
  var allocationUnit: ByteCount { image.allocationUnit }
  var backing: RecordedBacking? { image.backing }
  var storage: any Storage { image.storage }
  var dataStorage: any Storage { image.dataStorage }
  var requests: RequestTracker { image.requests }
  func inflate(_ cluster: CompressedCluster) throws(ImageError) -> [UInt8] { try image.inflate(cluster) }
  func planInPlace(_ range: GuestRange) throws(ImageError) -> WritePlan? { try image.planInPlace(range) }
  func prepare(_ range: GuestRange) throws(ImageError) -> WritePlan { try image.prepare(range) }
  func publish(_ plan: WritePlan) throws(ImageError) { try image.publish(plan) }
  func abandon(_ plan: WritePlan) { image.abandon(plan) }
  func zero(_ range: GuestRange, reserving: Bool, hiding: Bool) throws(ImageError) -> ByteCount {
    try image.zero(range, reserving: reserving, hiding: hiding)
  }
  func flush() throws(ImageError) { try image.flush() }
  func check(backing: RecordedBacking?) throws(ImageError) { try image.check(backing: backing) }
  func record(backing: RecordedBacking?) throws(ImageError) { try image.record(backing: backing) }
  func finish() throws(ImageError) { try image.finish() }
}
