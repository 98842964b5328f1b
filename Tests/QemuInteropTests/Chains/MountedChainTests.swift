import Foundation
import TestSupport
import Testing

/// Chains of every make, mounted by the built command: `disk` against `qemu-img convert`, and what a mount leaves behind.
@Suite(.timeLimit(.minutes(60)), .serialized, .enabled(if: FileManager.default.isWritableFile(atPath: "/dev/fuse")))
struct MountedChainTests {
  static let recipes = ChainRecipe.pairwise(count: 220)

  @Test(arguments: recipes)
  func diskIsWhatQemuConvertsItTo(_ recipe: ChainRecipe) throws {
    let images = try ChainImages(recipe)
    let bytes = try Qemu.bytes(of: images.top)
    for plan in StreamPlan.plans(for: recipe) {
      try MountedRun(images: images, plan: plan, bytes: bytes).run()
    }
  }
}

/// One copy of a recipe's chain: mounted, read, written, streamed to a base, completed, unmounted, and looked at by QEMU.
struct MountedRun {
  let images: ChainImages
  let plan: StreamPlan
  let bytes: [UInt8]

  static let flatcow = ExternalProgram(
    URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "flatcow")
      .path)

  private var recipe: ChainRecipe { images.recipe }

  func run() throws {
    let copy = try images.copy()
    let mountpoint = copy.directory.path("mnt")
    try FileManager.default.createDirectory(atPath: mountpoint, withIntermediateDirectories: false)
    try flatcow("mount", copy.top, mountpoint, "-o", options)
    defer { _ = try? Self.flatcow.run("umount", "--lazy", mountpoint) }
    let disk = URL(filePath: mountpoint + "/disk")

    #expect(try Data(contentsOf: disk) == Data(bytes), "the disk is not what qemu-img converts it to")
    var model = bytes
    try change(disk, &model)
    let isCompleted = try completeAll(mountpoint)
    try change(disk, &model)
    #expect(try Data(contentsOf: disk) == Data(model), "the disk is not what was written")
    try flatcow("umount", mountpoint)

    try Qemu.expectClean(copy.top)
    try Qemu.expect(copy.top, reads: model)
    guard isCompleted else { return }
    let info = try Qemu.info(copy.top)
    let last = try #require(plan.bases.last)
    #expect(info.backing == last.map { images.names[$0] })
    #expect(info.backingFormat == last.map { images.formats[$0] })
  }

  private func flatcow(_ arguments: String...) throws {
    let outcome = try ExternalProgram("timeout").run(["120", Self.flatcow.name] + arguments)
    try #require(outcome.succeeded, "flatcow \(arguments.joined(separator: " ")): \(outcome.output)")
  }

  /// Whether the chain can be completed at all; then it is, with a base that was set at the mount or is named now, and
  /// once more where the plan has a second base.
  private func completeAll(_ mountpoint: String) throws -> Bool {
    guard recipe.depth > 0, recipe.snapshots != .needingBacking else { return false }
    if plan.isLate, let base = plan.bases[0] {
      try flatcow("wait", mountpoint, "--timeout", "60")
      try flatcow("finish", mountpoint, images.names[base], "--timeout", "60")
    } else {
      try flatcow("finish", mountpoint, "--timeout", "60")
    }
    for base in plan.bases.dropFirst() {
      let line = (base.map { images.names[$0] } ?? "") + "\n"
      try Data(line.utf8).write(to: URL(filePath: mountpoint + "/stream/base"))
      try flatcow("finish", mountpoint, "--timeout", "60")
    }
    return true
  }

  private func change(_ disk: URL, _ model: inout [UInt8]) throws {
    if model.isEmpty { return }
    var random = SeededRandom(seed: recipe.seed)
    let file = try FileHandle(forUpdating: disk)
    defer { try? file.close() }
    for _ in 0..<6 {
      let range = random.range(below: model.count, longest: 20_000)
      let bytes = random.bytes(count: range.count)
      try file.seek(toOffset: UInt64(range.lowerBound))
      try file.write(contentsOf: bytes)
      model.replaceSubrange(range, with: bytes)
    }
    try file.synchronize()
  }

  private var options: String {
    var options = ["data-file=allow", "min-free=0"]
    if recipe.hasBitmaps { options.append("bitmaps=drop") }
    if recipe.lacksFormat { options.append("backing-format=\(images.formats[1])") }
    if let base = plan.bases[0], !plan.isLate { options.append("base=\(images.names[base])") }
    return options.joined(separator: ",")
  }
}
