import BackingChain
import Foundation
import HostStorage
import ImageFormat
import TestSupport
import Testing

/// One copy of a recipe's chain: written, streamed to a base, completed, closed, and then looked at by QEMU.
struct StreamRun {
  let images: ChainImages
  let plan: StreamPlan
  /// What the guest reads at first.
  let bytes: [UInt8]

  private var recipe: ChainRecipe { images.recipe }
  private var clusterSize: Int { recipe.top.clusterSize }

  func run() throws {
    let copy = try images.copy()
    let snapshot = recipe.snapshots == .none ? nil : try Qemu.bytes(of: copy.top, snapshot: "s1")
    let recorded = try Qemu.info(copy.top)
    let before = try lowerFiles(copy.directory)

    var disk = try CheckedDisk(copy.top, options: options, model: bytes, seed: recipe.seed)
    try disk.expectModel("opened")
    try disk.expectHolesAreZeros()
    try disk.change(times: 12, clusterSize: clusterSize)
    try disk.expectModel("written")
    let layers = disk.layers
    var isCompleted = false
    for base in plan.bases where recipe.depth > 0 { isCompleted = try stream(&disk, to: base.map { layers[$0] }) }
    try disk.change(times: 6, clusterSize: clusterSize)
    try disk.expectModel("completed")
    try disk.expectHolesAreZeros()
    try disk.chain.close()

    try Qemu.expectClean(copy.top)
    try expectSameVerdict(on: copy.top)
    try Qemu.expect(copy.top, reads: disk.model)
    let info = try Qemu.info(copy.top)
    if isCompleted {
      let base = plan.bases.last ?? nil
      #expect(info.backing == base.map { images.names[$0] })
      #expect(info.backingFormat == base.map { images.formats[$0] })
    } else {
      #expect(info.backing == recorded.backing)
    }
    #expect(info.bitmaps == [])
    if recipe.top.dataFile == .raw {
      let data = try Data(contentsOf: URL(filePath: copy.top + ".data"))
      #expect(data.prefix(disk.model.count) == Data(disk.model), "the data file alone is not the disk")
    }
    #expect(try lowerFiles(copy.directory) == before, "a backing image was written")
    if let snapshot {
      #expect(try Data(Qemu.bytes(of: copy.top, snapshot: "s1")) == Data(snapshot), "the snapshot was changed")
    }
  }

  /// Streams and completes; false where that has to be refused.
  private func stream(_ disk: inout CheckedDisk, to base: Layer?) throws -> Bool {
    let depth = disk.layers.count - 1
    let place = base.flatMap { base in disk.layers.firstIndex { $0 === base } }
    let name = base.flatMap { $0.path.split(separator: "/").last }
      .map { RecordedBacking(name: Array($0.utf8), format: base?.image.format) }
    guard recipe.snapshots != .needingBacking else {
      let error = #expect(throws: ChainError.self) { try disk.chain.check(backing: name) }
      #expect(error?.code == .snapshotsNeedBacking)
      return false
    }
    try disk.chain.check(backing: name)
    if plan.isLate {
      try disk.stream(above: nil, disturbedBy: 2, clusterSize: clusterSize)
      try disk.expectModel("populated")
    }
    try disk.stream(above: base, disturbedBy: plan.isLate ? 0 : 2, clusterSize: clusterSize)
    try disk.expectModel("populated above the base")
    try disk.chain.complete(recording: name, keeping: base)
    #expect(disk.layers.count == (place.map { depth - $0 + 2 } ?? 1))
    return true
  }

  /// The bytes of all files that may not be written.
  private func lowerFiles(_ directory: TemporaryDirectory) throws -> [Data] {
    try images.names.dropFirst().map { try Data(contentsOf: URL(filePath: directory.path($0))) }
  }

  private var options: ChainOptions {
    var options = ChainOptions()
    options.dropsBitmaps = recipe.hasBitmaps
    options.allowsDataFile = true
    if recipe.lacksFormat { options.backingFormats = [images.formats[1]] }
    return options
  }
}
