import ImageFormat
import TestSupport

/// Something done to an image's bytes, and what to call it.
struct ImageDamage: Sendable {
  let name: String
  let apply: @Sendable (inout [UInt8]) -> Void

  /// Each pointer of the metadata to each place; each refcount wrong in each way; cut at each place; entries that break a rule;
  /// the first two also in an image that is marked dirty.
  static func all(in bytes: [UInt8], of template: DamageTemplate) -> [ImageDamage] {
    let places = ImagePlaces(bytes, clusterSize: template.clusterSize, hasDataFile: template == .dataFile)
    let single = overlaps(places, bytes, template) + counts(places, template)
    // Version 2 has no such mark.
    let dirty = template == .old ? [] : single.map { $0.andDirty() }
    return single + dirty + entries(places) + cuts(places, bytes, template)
  }

  private static func store(_ word: UInt64, _ position: Int) -> @Sendable (inout [UInt8]) -> Void {
    changing(position) { _ in word }
  }

  /// Another damage may have cut it off.
  private static func changing(
    _ position: Int, _ change: @escaping @Sendable (UInt64) -> UInt64
  ) -> @Sendable (inout [UInt8]) -> Void {
    { bytes in
      guard position + 8 <= bytes.count else { return }
      let old = BigEndian.load(UInt64.self, from: bytes.span, at: position)
      BigEndian.store(change(old), into: &bytes, at: position)
    }
  }

  private static func overlaps(_ places: ImagePlaces, _ bytes: [UInt8], _ template: DamageTemplate) -> [ImageDamage] {
    let size = template.clusterSize
    let end = (bytes.count + size - 1) / size * size
    let others = [
      ("the header", 0), ("the end", end), ("far away", 1 << 50), ("no cluster's offset", places.refcountBlock + 512),
    ]
    return places.pointers.flatMap { pointer in
      let flags = BigEndian.load(UInt64.self, from: bytes.span, at: pointer.position) & ~0x00FF_FFFF_FFFF_FE00
      return (places.pointers.map { ($0.name, $0.target) } + others)
        .filter { $0.1 != pointer.target }
        .map { name, target in
          ImageDamage(name: "\(pointer.name) -> \(name)", apply: store(UInt64(target) | flags, pointer.position))
        }
    }
  }

  private static func counts(_ places: ImagePlaces, _ template: DamageTemplate) -> [ImageDamage] {
    let clusters = [("header", 0)] + places.pointers.map { ($0.name, $0.target) }
    let order = places.refcountOrder
    return clusters.flatMap { name, target in
      [0, 1, 2, 0xFF].filter { $0 >> (1 << order) == 0 }.map { count in
        let cluster = target / template.clusterSize
        return ImageDamage(name: "refcount of \(name) = \(count)") { bytes in
          let bit = cluster << order
          let byte = places.refcountBlock + (order < 3 ? bit / 8 : ((cluster + 1) << (order - 3)) - 1)
          guard byte < min(places.refcountBlock + template.clusterSize, bytes.count) else { return }
          let mask = order < 3 ? UInt8((1 << (1 << order)) - 1) << UInt8(bit % 8) : 0xFF
          bytes[byte] = bytes[byte] & ~mask | (order < 3 ? UInt8(count) << UInt8(bit % 8) : UInt8(count))
        }
      }
    }
  }

  private static func entries(_ places: ImagePlaces) -> [ImageDamage] {
    places.pointers.filter { $0.position > 112 }.flatMap { pointer in
      ([0, 1 << 63, 1, 0x1FE, 0x3F << 56, 0x1F, 3 << 62, 1 << 62, .max] as [UInt64]).flatMap { word in
        [
          ImageDamage(name: "\(pointer.name): \(word)", apply: store(word, pointer.position)),
          ImageDamage(name: "\(pointer.name): bits \(word) flipped", apply: changing(pointer.position) { $0 ^ word }),
        ]
      }
    }
  }

  private static func cuts(_ places: ImagePlaces, _ bytes: [UInt8], _ template: DamageTemplate) -> [ImageDamage] {
    let size = template.clusterSize
    let named = places.pointers.flatMap { pointer in
      [0, 512, size / 2, size - 512, size].map { ("\(pointer.name) + \($0)", pointer.target + $0) }
    }
    let fromEnd = [1, 100, 511, 512, size / 2, size - 1, size, size + 1, 2 * size].map { lost in
      ("the end - \(lost)", bytes.count - lost)
    }
    return (named + fromEnd).filter { (72..<bytes.count).contains($0.1) }.map { name, length in
      ImageDamage(name: "cut at \(name)") { $0.removeLast(max(0, $0.count - length)) }
    }
  }

  func and(_ other: ImageDamage) -> ImageDamage {
    ImageDamage(name: "\(name), \(other.name)") { bytes in
      apply(&bytes)
      other.apply(&bytes)
    }
  }

  private func andDirty() -> ImageDamage {
    ImageDamage(name: "\(name), dirty") { bytes in
      apply(&bytes)
      bytes[79] |= 1
    }
  }
}
