/// What a chain of images reads as: the reference that the real chain is compared with. Bytes in arrays, nothing
/// clever; for disks of a few MiB.
package struct DiskModel: Sendable {
  /// An image: per byte its value, nil where the image says "look below".
  package struct Layer: Sendable {
    package var bytes: [UInt8?]

    package init(size: Int) { bytes = Array(repeating: nil, count: size) }
    /// A layer that has all of its bytes, as a raw image.
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
  }

  /// The active layer first.
  package private(set) var layers: [Layer]

  package init(_ layers: [Layer]) {
    precondition(!layers.isEmpty, "a disk has an active layer")
    self.layers = layers
  }

  package var size: Int { layers[0].bytes.count }

  /// What the guest reads in a range of the disk.
  package func bytes(in range: Range<Int>) -> [UInt8] {
    range.map { answer(at: $0, above: layers.count) ?? 0 }
  }

  package var bytes: [UInt8] { bytes(in: 0..<size) }

  package mutating func write(_ bytes: [UInt8], at offset: Int) {
    for (index, byte) in bytes.enumerated() { layers[0].bytes[offset + index] = byte }
  }

  /// Zeros that hide what is below; a discard reads the same.
  package mutating func zero(_ range: Range<Int>) {
    for offset in range { layers[0].bytes[offset] = 0 }
  }

  /// Copies into the active layer what the layers above the base answer. It changes no read.
  package mutating func populate(_ range: Range<Int>, base: Int) {
    for offset in range { layers[0].bytes[offset] = answer(at: offset, above: base) }
  }

  /// Completes a stream: layer `base` (its index; the number of layers for none) becomes the active layer's backing
  /// image, or there is none. It changes no read.
  package mutating func complete(base: Int) {
    populate(0..<size, base: base)
    layers.removeSubrange(1..<base)
  }

  /// The first layer that knows, of those above `base`; nil when none does. Past the end of a backing image are zeros,
  /// whatever a longer one below it holds.
  private func answer(at offset: Int, above base: Int) -> UInt8? {
    for layer in layers[..<base] {
      guard offset < layer.bytes.count else { return 0 }
      if let byte = layer.bytes[offset] { return byte }
    }
    return nil
  }
}
