import BackingChain
import TestSupport
import Testing

/// Chains of every make, against what QEMU reads in them and says of them.
@Suite(.timeLimit(.minutes(60))) struct ChainTests {
  @Test(arguments: ChainRecipe.selected)
  func isReadWrittenStreamedAndCompletedAsQemuUnderstandsIt(_ recipe: ChainRecipe) throws {
    let images = try ChainImages(recipe)
    let bytes = try Qemu.bytes(of: images.top)
    for level in 0...recipe.depth where images.formats[level] == "qcow2" {
      try expectSameVerdict(on: images.path(level))
    }
    for plan in StreamPlan.plans(for: recipe) {
      try StreamRun(images: images, plan: plan, bytes: bytes).run()
    }
  }

  @Test func theSelectionHasEveryLevelOfEveryChoice() {
    let words = Set(ChainRecipe.pairwise(count: 220).flatMap(\.words))
    #expect(ChainRecipe.pairwise(count: 40) == ChainRecipe.pairwise(count: 40), "it has to be the same every time")
    let wanted =
      LayerGeometry.clusterSizes.map { "cluster=\($0)" } + LayerGeometry.refcountWidths.map { "refcount=\($0)" }
    #expect(words.isSuperset(of: wanted + ["v2", "v3", "extl2", "data=plain", "data=raw", "compress=zstd", "depth=5"]))
  }
}

/// Where streams stop, one after the other, and when that is said.
struct StreamPlan: Sendable {
  /// The layers that are kept; nil flattens the chain.
  let bases: [Int?]
  /// Everything is populated first, and the base chosen then.
  let isLate: Bool

  /// Two of the possible ones; all of them in a full run.
  static func plans(for recipe: ChainRecipe) -> [StreamPlan] {
    guard recipe.depth > 0 else { return [StreamPlan(bases: [nil], isLate: false)] }
    let kept = (1...recipe.depth).flatMap { base in
      [
        StreamPlan(bases: [base], isLate: false), StreamPlan(bases: [base], isLate: true),
        StreamPlan(bases: [base, nil], isLate: false),
      ]
    }
    let all = kept + [StreamPlan(bases: [nil], isLate: false)]
    if TestRun.isFull { return all }
    var random = SeededRandom(seed: recipe.seed)
    return Array(all.shuffled(using: &random).prefix(2))
  }
}
