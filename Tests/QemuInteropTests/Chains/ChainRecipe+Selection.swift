import Foundation
import TestSupport

extension ChainRecipe {
  /// The recipes of this run: a selection, or everything where FLATCOW_FULL is set.
  static let selected = TestRun.isFull ? whole : pairwise(count: 220)

  /// Recipes that together have nearly every possible pair of choices: of some drawn at random, always the one with the
  /// most pairs that no earlier one has.
  static func pairwise(count: Int) -> [ChainRecipe] {
    var random = SeededRandom(seed: 2014)
    var seen: Set<String> = []
    return (0..<count).map { _ in
      let best = (0..<12).map { _ in ChainRecipe(seed: random.next()) }
        .map { recipe in (recipe, recipe.pairs.subtracting(seen)) }
        .max { $0.1.count < $1.1.count }
      let (recipe, pairs) = best ?? (ChainRecipe(seed: random.next()), [])
      seen.formUnion(pairs)
      return recipe
    }
  }

  private var pairs: Set<String> {
    let words = words
    return Set(words.indices.flatMap { first in words[(first + 1)...].map { "\(words[first]) \($0)" } })
  }

  /// Every geometry of the active layer that there is, with two histories each.
  static var whole: [ChainRecipe] {
    var random = SeededRandom(seed: 1024)
    return geometries.flatMap { geometry in (0..<2).map { _ in ChainRecipe(top: geometry, seed: random.next()) } }
  }

  private static var geometries: [LayerGeometry] {
    var random = SeededRandom(seed: 512)
    var product = [LayerGeometry(using: &random)]
    func vary<Value>(_ property: WritableKeyPath<LayerGeometry, Value>, _ values: [Value]) {
      product = product.flatMap { geometry in
        values.map { value in
          var varied = geometry
          varied[keyPath: property] = value
          return varied
        }
      }
    }
    vary(\.clusterSize, LayerGeometry.clusterSizes)
    vary(\.version, [2, 3])
    vary(\.refcountBits, LayerGeometry.refcountWidths)
    vary(\.hasExtendedL2, [false, true])
    vary(\.dataFile, LayerGeometry.DataFile.allCases)
    vary(\.compression, LayerGeometry.Compression.allCases)
    vary(\.preallocates, [false, true])
    vary(\.isLazy, [false, true])
    var known: Set<LayerGeometry> = []
    return product.map { $0.madePossible(hasBacking: false) }.filter { known.insert($0).inserted }
  }
}
