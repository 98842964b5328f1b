import BackingChain
import HostStorage
import ImageFormat
import StreamJob

/// A chain whose layers lie nowhere on the host, as a job's target: it is the chain, but that a line names a layer as the
/// header above it does.
final class PlacelessTarget: StreamTarget {
  private let chain: BackingChain

  init(_ chain: BackingChain) { self.chain = chain }

  func plan(_ name: [UInt8], keeping base: Layer?) throws(ChainError) -> CompletionPlan {
    let base = if let base { base } else { try chain.layer(named: name) }
    return CompletionPlan(base: base, backing: RecordedBacking(name: name, format: base.image.format))
  }

  var virtualSize: ByteCount { chain.virtualSize }
  var isWritable: Bool { chain.isWritable }
  func hasLayers(above base: Layer?) -> Bool { chain.hasLayers(above: base) }
  func layer(named name: [UInt8]) throws(ChainError) -> Layer { try chain.layer(named: name) }

  func nextUnpopulated(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> GuestRange? {
    try chain.nextUnpopulated(from: offset, above: base)
  }

  func populate(_ range: GuestRange, above base: Layer?) throws(ChainError) -> ByteCount {
    try chain.populate(range, above: base)
  }

  func remaining(above base: Layer?) throws(ChainError) -> ByteCount { try chain.remaining(above: base) }
  func space() throws(ChainError) -> (free: ByteCount, total: ByteCount) { try chain.space() }
  func checkCompletable() throws(ChainError) { try chain.checkCompletable() }
  func prepareCompletion(_ plan: CompletionPlan) throws(ChainError) { try chain.prepareCompletion(plan) }
  func complete(_ plan: CompletionPlan) throws(ChainError) { try chain.complete(plan) }
}
