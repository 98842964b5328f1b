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
// 5. A layer is closed when nobody is inside any more, and nobody ever comes in again (`LayerDoor`): a completion waits for
//    those who are in a layer that it drops, and for nobody else.
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

  /// Publishes the chain without `dropped`, which nobody enters from now on. Whoever finds that out takes the snapshot again
  /// and waits for this one: what it finds then is what the shorter chain has.
  func replaceSnapshot(with new: ChainSnapshot, lettingGo dropped: some Collection<Layer>) {
    current.withLock { current in
      for layer in dropped { layer.door.shut() }
      current = new
    }
  }

  /// Runs `body` as a request: what it looks up in the active layer is not reused before it ends. `body` is run again where
  /// it meets a layer that was let go; it has left nothing undone by then that would be done twice.
  func request<Result>(_ body: (ChainSnapshot) throws(ChainError) -> Result) throws(ChainError) -> Result {
    while true {
      let token = active?.requests.begin()
      defer { if let token { active?.requests.end(token) } }
      do throws(ChainError) {
        return try body(snapshot)
      } catch {
        guard error.code == .letGo else { throw error }
      }
    }
  }

  /// Appends the guest's bytes in `range`, which lies within the disk, to `output`. Returns whether any of them came from
  /// below the active layer.
  @discardableResult
  package func read(_ range: GuestRange, into output: inout OutputSpan<UInt8>) throws(ChainError) -> Bool {
    var wentBelow = false
    var rest = range
    // A request for each run: one that is stuck in a layer that stays goes on, after that, with the chain as it is then.
    while !rest.isEmpty {
      let (count, isBelow) = try request { (snapshot) throws(ChainError) in
        try snapshot.readRun(of: rest, to: snapshot.layers.count, into: &output)
      }
      wentBelow = wentBelow || isBelow
      rest = GuestRange(from: rest.start + count, to: rest.end)
    }
    return wentBelow
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
