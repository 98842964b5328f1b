import HostStorage
package import ImageFormat

// Completion: everything durable, then the header, then the shorter chain, then the old layers go.
extension BackingChain {
  /// Says whether the header can record `backing` (nil: none) now; changes nothing.
  package func check(backing: RecordedBacking?) throws(ChainError) {
    let image = try writable()
    do {
      try image.check(backing: backing)
    } catch {
      throw error.code == .unsupported ? snapshotsRefusal(error) : ChainError(error)
    }
  }

  /// Records `backing` in the header and lets the layers above `base` (nil: all but the active one) go. Everything above
  /// `base` has been populated; nothing is left to be copied.
  ///
  /// When it throws, the header is as it was and the chain goes on as before, but for `.outcomeUnknown`: then the old layers
  /// stay open, and which name the header has is not known. When it returns, all is durable, and the layers that were let go
  /// are closed and unlocked.
  package func complete(recording backing: RecordedBacking?, keeping base: Layer?) throws(ChainError) {
    let image = try writable()
    let old = snapshot
    let kept = base.map { base in old.layers.firstIndex { $0 === base } } ?? old.layers.count
    guard let kept else {
      throw ChainError(.notInChain, path: old.layers[0].path, message: "the base is no longer in the chain")
    }
    try flush()
    try flusher?.watching { () throws(ImageError) in try image.record(backing: backing) }
    let layers = [old.layers[0]] + old.layers[kept...]
    // A cluster that is unmapped now would read as what the old layers have to whoever still sees them.
    replaceSnapshot(with: ChainSnapshot(layers: layers, someoneLooksBelow: true))
    waitForRequests(of: image)
    replaceSnapshot(with: ChainSnapshot(layers: layers))
    for layer in old.layers[1..<kept] { layer.close() }
  }

  /// Returns when every request that may hold the old snapshot has ended.
  private func waitForRequests(of image: any WritableImage) {
    var ticket = RequestTracker.Ticket()
    while !image.requests.hasDrained(&ticket) { HostThread.sleep(.milliseconds(1)) }
  }

  private func snapshotsRefusal(_ error: ImageError) -> ChainError {
    ChainError(.snapshotsNeedBacking, path: error.path, message: error.description, cause: error)
  }
}
