package import ImageFormat

/// What `ChainOpener` found: images open and locked, nothing changed in any of them but what had to be repaired.
package struct OpenedChain: Sendable {
  /// Top first; at least one.
  package let layers: [Layer]
  /// The image of `layers[0]`, where it may be written.
  package let active: (any WritableImage)?
  /// What the log should say, a sentence each.
  package let notes: [String]
}
