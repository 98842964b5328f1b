import Foundation
import TestSupport
import Testing

/// The images of a recipe, made by QEMU.
struct ChainImages {
  let recipe: ChainRecipe
  let directory: TemporaryDirectory
  /// The files' names, top first.
  private(set) var names: [String] = []
  /// Their formats, top first.
  private(set) var formats: [String] = []
  private var random: SeededRandom
  private let patterns: [String]

  init(_ recipe: ChainRecipe) throws {
    self.recipe = recipe
    directory = try TemporaryDirectory()
    random = SeededRandom(seed: recipe.seed)
    var patterns: [String] = []
    // Lengths that no cluster is a multiple of show where a wrong byte came from; the short one can be compressed.
    for length in [97, 4093] {
      patterns.append(try directory.file("pattern\(length)", random.bytes(count: length)))
    }
    self.patterns = patterns
    for level in stride(from: recipe.depth, through: 0, by: -1) { try makeLayer(level) }
  }

  var top: String { directory.path(names[0]) }
  func path(_ level: Int) -> String { directory.path(names[level]) }
  var topDataFile: String? { recipe.top.dataFile == .none ? nil : top + ".data" }

  /// A copy whose active layer may be written; the images below are the same files.
  func copy() throws -> (directory: TemporaryDirectory, top: String) {
    let copy = try TemporaryDirectory()
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
      if name.hasPrefix(names[0]) {
        try FileManager.default.copyItem(atPath: directory.path(name), toPath: copy.path(name))
      } else {
        try FileManager.default.linkItem(atPath: directory.path(name), toPath: copy.path(name))
      }
    }
    return (copy, copy.path(names[0]))
  }

  private func size(of level: Int, using random: inout SeededRandom) -> Int {
    let size = recipe.virtualSize
    if level == 0 { return size }
    if recipe.hasShortMiddle && level == 1 { return size / 2 / 512 * 512 }
    if level < recipe.depth { return random.oneIn(3) ? size * 3 / 4 / 512 * 512 : size }
    return switch recipe.backingLength {
    case .shorter: size * 2 / 3 / 512 * 512
    case .equal: size
    case .longer: size + (384 << 10)
    case .zero: 0
    case .thousandBytes: 1000
    }
  }

  private mutating func makeLayer(_ level: Int) throws {
    let size = size(of: level, using: &random)
    let isLowest = level == recipe.depth
    let isRaw = isLowest && level > 0 && (size % 512 != 0 || random.oneIn(2))
    names.insert("layer\(level).\(isRaw ? "raw" : "qcow2")", at: 0)
    formats.insert(isRaw ? "raw" : "qcow2", at: 0)
    if isRaw {
      try Data().write(to: URL(filePath: top))
      if size > 0 { try Qemu.img("resize", "-q", "-f", "raw", on: top, and: "\(size)") }
      return try Qemu.io(top, format: "raw", writes(size: size, clusterSize: 4096))
    }
    let geometry = level == 0 ? recipe.top : lowerGeometry(hasBacking: !isLowest)
    let backing = isLowest ? [] : ["-b", names[1], "-F", formats[1]]
    try Qemu.img(
      ["create", "-q", "-f", "qcow2", "-o", geometry.options(dataFileName: names[0] + ".data")] + backing, on: top,
      and: ["\(size)"])
    if level == 0 && recipe.snapshots == .needingBacking { try Qemu.img("snapshot", "-q", "-c", "s1", on: top) }
    let compressed =
      geometry.compression == .none ? [] : compressedWrites(size: size, clusterSize: geometry.clusterSize)
    try Qemu.io(top, compressed + writes(size: size, clusterSize: geometry.clusterSize))
    if level == 0 { try addHistory(geometry) }
  }

  private mutating func lowerGeometry(hasBacking: Bool) -> LayerGeometry {
    var geometry = LayerGeometry(using: &random)
    if geometry.dataFile == .raw || !random.oneIn(4) { geometry.dataFile = .none }
    return geometry.madePossible(hasBacking: hasBacking)
  }

  private mutating func addHistory(_ geometry: LayerGeometry) throws {
    let size = recipe.virtualSize
    func more() throws {
      try Qemu.io(top, writes(size: size, clusterSize: geometry.clusterSize))
    }
    if recipe.snapshots == .complete {
      try Qemu.io(
        top, ["write -q -s \(patterns[1]) 0 \(size / 2)", "write -q -z \(size / 2) \(size - size / 2)"])
      try Qemu.img("snapshot", "-q", "-c", "s1", on: top)
      try more()
    }
    if recipe.hasBitmaps {
      try Qemu.img("bitmap", "--add", on: top, and: "b1")
      try more()
    }
    if geometry.isLazy {
      try Qemu.ioKilled(top, writes(size: size, clusterSize: geometry.clusterSize) + ["flush"])
    }
    if recipe.lacksFormat { try hideFormat() }
  }

  /// Turns the extension that records the backing format into one that nobody knows.
  private func hideFormat() throws {
    var bytes = [UInt8](try Data(contentsOf: URL(filePath: top)))
    let place = try #require(
      (64..<512).first { Array(bytes[$0..<($0 + 4)]) == [0xE2, 0x79, 0x2A, 0xCA] }, "no backing format in the header")
    bytes.replaceSubrange(place..<(place + 4), with: [0x12, 0x34, 0x56, 0x78])
    try Data(bytes).write(to: URL(filePath: top))
  }

  /// Compressed clusters, which QEMU takes only where nothing is yet.
  private mutating func compressedWrites(size: Int, clusterSize: Int) -> [String] {
    let clusters = (0..<((size + clusterSize - 1) / clusterSize)).shuffled(using: &random).prefix(4)
    return clusters.map { cluster in
      let start = cluster * clusterSize
      return "write -q -c -s \(patterns[0]) \(start) \(min(clusterSize, size - start))"
    }
  }

  /// Some writes of all kinds for qemu-io.
  private mutating func writes(size: Int, clusterSize: Int) -> [String] {
    guard size > 0 else { return [] }
    return (0..<Int.random(in: 3...7, using: &random)).map { _ in
      let longest = min(3 * clusterSize, 600 << 10) + 4096
      let place = random.range(below: size, longest: longest)
      let cluster = place.lowerBound / clusterSize * clusterSize
      let whole = "\(cluster) \(min(clusterSize, size - cluster))"
      let ragged = "\(place.lowerBound) \(place.count)"
      return switch Int.random(in: 0..<7, using: &random) {
      case 0: "write -q -z \(ragged)"
      case 1: "write -q -z -u \(whole)"
      case 2: "discard -q \(whole)"
      case 3: "write -q -P \(UInt8.random(in: 1...255, using: &random)) \(whole)"
      default: "write -q -s \(patterns[1]) \(ragged)"
      }
    }
  }
}
