// BackingChain: a chain of images opened, read as one disk, its active layer written.
//
//        guest reads            guest writes, populate
//            │                        │
//      ChainSnapshot ── asks ──▶ active layer      the list of layers, top first; immutable, replaced whole
//            │                        ▲
//            ▼ unallocated            │ copies
//      backing images ────────────────┘
//
// Reading is one loop over the list (`ChainSnapshot.source`): ask the active layer where a guest offset is, go down while
// it is unallocated, stop at data, at zeros, or at the end. A layer that is shorter than the one above reads as zeros
// from its end on, whatever lies below it.
//
// Invariants:
// 1. Nothing but a guest's write changes what a guest offset reads as: not populating, not completing.
// 2. Allocation, remapping, zeroing and populating hold their clusters exclusively; a write in place holds them shared,
//    and its exact bytes exclusively (`RangeLocks`).
// 3. An error on reading a layer never becomes data: the range stays as it was.
// 4. Backing images are never written.
//
// Lock order: a range, then what the active image takes. The snapshot's mutex is held for a pointer's copy only.
package import HostStorage
package import ImageFormat

/// A chain of open images: one disk to read, its active layer to write.
package final class BackingChain: Sendable {
  package let virtualSize: ByteCount
  /// The active layer, when the chain is writable.
  let active: (any WritableImage)?
  let ranges: RangeLocks
  let flusher: Flusher?
  let allocated = AllocatedSize()
  private let current: Lock<ChainSnapshot>

  /// `layers` are open and locked, top first, at least one; `active` is the top one's image, when it may be written.
  /// `flushInterval` is how long written bytes wait for the guest to sync them (nil: as long as is usual).
  package init(layers: [Layer], active: (any WritableImage)?, flushInterval: Duration? = nil) {
    precondition(!layers.isEmpty, "a chain has at least one layer")
    virtualSize = layers[0].virtualSize
    self.active = active
    ranges = RangeLocks(unit: layers[0].image.clusterSize)
    current = Lock(ChainSnapshot(layers: layers))
    flusher = active.map { Flusher(image: $0, interval: flushInterval ?? Flusher.interval) }
  }

  package var isWritable: Bool { active != nil }

  /// The layers as they are now.
  package var snapshot: ChainSnapshot { current.withLock { $0 } }

  func replaceSnapshot(with new: ChainSnapshot) {
    current.withLock { $0 = new }
  }

  /// Runs `body` as a request: what it looks up is not reused before it ends, and the layers of its snapshot stay open.
  func request<Result>(_ body: (ChainSnapshot) throws(ChainError) -> Result) throws(ChainError) -> Result {
    guard let active else { return try body(snapshot) }
    let token = active.requests.begin()
    defer { active.requests.end(token) }
    return try body(snapshot)
  }

  /// Appends the guest's bytes in `range`, which lies within the disk, to `output`. Returns whether any of them came from
  /// below the active layer.
  @discardableResult
  package func read(_ range: GuestRange, into output: inout OutputSpan<UInt8>) throws(ChainError) -> Bool {
    try request { (snapshot) throws(ChainError) in try snapshot.read(range, into: &output) }
  }

  /// Makes every write that returned before the call durable.
  package func flush() throws(ChainError) {
    try flusher?.flush()
  }

  /// Whether what was written is known to be durable, or can still become so.
  package var durability: Durability { flusher?.durability ?? .kept }

  /// Whether it cannot any more.
  package var isDurabilityLost: Bool { durabilityLoss != nil }
  /// The failure after which it cannot.
  package var durabilityLoss: ChainError? { if case .lost(let error) = durability { error } else { nil } }

  /// Has `handler` called, by any thread, whenever the durability has become another.
  package func onDurabilityChange(_ handler: @escaping @Sendable (Durability) -> Void) { flusher?.onChange(handler) }

  /// Makes every later flush fail, for bytes that the guest believes to be written were lost.
  package func loseDurability(because error: ChainError) { flusher?.lose(because: error) }

  /// Flushes, leaves a clean image, closes and unlocks all layers. No request may be running.
  package func close() throws(ChainError) {
    let isQuiet = allocated.stop(patience: .seconds(10))
    // A layer that hangs is closed by the end of the process.
    defer { if isQuiet { for layer in snapshot.layers { layer.close() } } }
    flusher?.stop()
    try flusher?.finish()
  }
}
