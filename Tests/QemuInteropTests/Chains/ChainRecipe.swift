import TestSupport
import Testing

/// How a chain of images is made, as a value: a failure names it whole, and it can be made again.
///
/// `top` is the active layer's geometry; the layers below draw theirs from the seed, as all offsets and bytes.
struct ChainRecipe: Hashable, Sendable {
  /// How long the lowest image is, compared with the active one.
  enum BackingLength: String, CaseIterable { case shorter, equal, longer, zero, thousandBytes }
  /// Internal snapshots of the active layer.
  enum Snapshots: String, CaseIterable { case none, complete, needingBacking }

  static let greatestDepth = 5

  var top: LayerGeometry
  /// How many images lie below the active one.
  var depth: Int
  var backingLength: BackingLength
  var hasShortMiddle: Bool
  var isUnaligned: Bool
  var snapshots: Snapshots
  var hasBitmaps: Bool
  var lacksFormat: Bool
  let seed: UInt64

  /// Draws a recipe that QEMU can make.
  init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    self.init(top: LayerGeometry(using: &random), seed: random.next())
  }

  /// Draws all but the active layer's geometry.
  init(top: LayerGeometry, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    self.seed = seed
    depth = Int.random(in: 0...Self.greatestDepth, using: &random)
    backingLength = BackingLength.allCases.randomElement(using: &random) ?? .equal
    hasShortMiddle = random.oneIn(2) && depth >= 2
    isUnaligned = random.oneIn(2)
    snapshots = Snapshots.allCases.randomElement(using: &random) ?? .none
    hasBitmaps = random.oneIn(3)
    lacksFormat = random.oneIn(3) && depth > 0
    self.top = top.madePossible(hasBacking: depth > 0)
    if hasShortMiddle { backingLength = .longer }
    if depth == 0 { backingLength = .equal }
    if self.top.version == 2 { hasBitmaps = false }
    // Compressed clusters share host clusters, whose counts a snapshot doubles.
    let narrowest = self.top.compression == .none ? 2 : 8
    if self.top.dataFile != .none || self.top.refcountBits < narrowest { snapshots = .none }
    if depth == 0 && snapshots == .needingBacking { snapshots = .complete }
  }

  /// The size of the active layer's disk: a few clusters at least, and never much to copy.
  var virtualSize: Int {
    let whole = max(1 << 20, min(4 * top.clusterSize, 6 << 20))
    return isUnaligned ? whole + 3 * 512 : whole
  }

  /// The choices that the selection combines.
  var words: [String] {
    top.words + [
      "depth=\(depth)", "below=\(backingLength)", hasShortMiddle ? "shortmiddle" : "fullmiddle",
      isUnaligned ? "unaligned" : "aligned", "snapshots=\(snapshots)", hasBitmaps ? "bitmaps" : "nobitmaps",
      lacksFormat ? "noformat" : "format",
    ]
  }
}

extension ChainRecipe: CustomTestStringConvertible {
  var testDescription: String { "\(words.joined(separator: " ")) seed=\(seed)" }
}
