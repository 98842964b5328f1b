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
    let dropped = old.layers[1..<kept]
    replaceSnapshot(with: ChainSnapshot(layers: [old.layers[0]] + old.layers[kept...]), lettingGo: dropped)
    for layer in dropped { close(layer) }
  }

  /// Closes a layer that is let go as soon as nobody is in it any more.
  private func close(_ layer: Layer) {
    while !layer.door.isEmpty { HostThread.sleep(.milliseconds(1)) }
    layer.close()
  }

  private func snapshotsRefusal(_ error: ImageError) -> ChainError {
    ChainError(.snapshotsNeedBacking, path: error.path, message: error.description, cause: error)
  }
}
