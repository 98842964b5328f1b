package import BackingChain
import HostStorage
import ImageFormat

// The chain of a mount as a job's target: its top is the active layer.
extension BackingChain: StreamTarget {
  package func hasLayers(above base: Layer?) -> Bool {
    let layers = snapshot.layers
    return (base.flatMap { base in layers.firstIndex { $0 === base } } ?? layers.count) > 1
  }

  package func layer(named name: [UInt8]) throws(ChainError) -> Layer {
    let layers = snapshot.layers
    do {
      return try BackingFileStrings(of: layers).layer(matching: name)
    } catch {
      guard error.code == .notInChain else { throw error }
      let bases = layers.dropFirst().map(\.path).joined(separator: ", ")
      throw ChainError(
        .notInChain, path: layers[0].path,
        message: "\"\(printable(name))\" is no layer below \(layers[0].path); the base can be one of: \(bases)")
    }
  }

  package func checkCompletable() throws(ChainError) {
    try check(backing: nil)
  }

  package func plan(_ name: [UInt8], keeping base: Layer?) throws(ChainError) -> CompletionPlan {
    let plan = try unchecked(name, keeping: base)
    try check(backing: plan.backing)
    return plan
  }

  private func unchecked(_ name: [UInt8], keeping base: Layer?) throws(ChainError) -> CompletionPlan {
    let strings = BackingFileStrings(of: snapshot.layers)
    switch (base, name.isEmpty) {
    case (nil, true):
      return CompletionPlan(base: nil, backing: nil)
    case (let base?, true):
      return CompletionPlan(base: base, backing: try strings.automaticBacking(for: base), mustLead: true)
    case (let base?, false):
      return CompletionPlan(base: base, backing: try strings.verbatim(name, for: base))
    case (nil, false):
      let base = try strings.layer(matching: name)
      return CompletionPlan(base: base, backing: try strings.backing(naming: name, for: base), mustLead: true)
    }
  }

  package func prepareCompletion(_ plan: CompletionPlan) throws(ChainError) {
    try flush()
    try checkUnchanged(plan)
  }

  package func complete(_ plan: CompletionPlan) throws(ChainError) {
    if !hasLayers(above: plan.base) && plan.backing == snapshot.layers[0].image.backing {
      try flush()
      return
    }
    try checkUnchanged(plan)
    try complete(recording: plan.backing, keeping: plan.base)
  }

  /// What was copied, and what is recorded, must be of the files that were opened.
  private func checkUnchanged(_ plan: CompletionPlan) throws(ChainError) {
    let layers = snapshot.layers
    if let loss = try layers[0].lossOfName() { throw ChainError(.changed, path: layers[0].path, message: loss) }
    let kept = layers.firstIndex { $0 === plan.base } ?? layers.count
    for (index, layer) in layers.enumerated().dropFirst() {
      // A layer that stays may hang, and that is nothing to the completion.
      if let change = try layer.changeSinceOpening(asking: index < kept) {
        throw ChainError(.changed, path: layer.path, message: change)
      }
    }
    guard plan.mustLead, let base = plan.base, let backing = plan.backing else { return }
    if !BackingFileStrings(of: layers).leads(backing.name, to: base) {
      throw ChainError(
        .changed, path: base.path,
        message: "\"\(printable(backing.name))\" no longer leads to \(base.path); write another name")
    }
  }
}
