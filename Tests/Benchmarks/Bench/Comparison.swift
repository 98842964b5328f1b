/// Whoever is measured: a peer, or flatcow at other work.
struct Contender: Hashable, Sendable {
  let name: String

  init(_ name: String) { self.name = name }
  init(_ peer: Peer) { name = peer.rawValue }

  static let flatcow = Contender(.flatcow)
}

/// What flatcow is to reach.
enum Goal: Sendable {
  /// So many times as good as another: as many times the rate, or that part of the cost.
  case times(Double, Contender)
  /// A rate at least, or a cost at most.
  case bound(Double)

  static func times(_ ratio: Double, _ peer: Peer) -> Goal { .times(ratio, Contender(peer)) }
}

/// One piece of work, and how everybody did it.
struct Comparison {
  let title: String
  let unit: Unit
  var goals: [Goal] = []
  var series: [(contender: Contender, samples: Samples)] = []

  subscript(_ contender: Contender) -> Samples? { series.first { $0.contender == contender }?.samples }

  mutating func add(_ value: Double, of contender: Contender) {
    if let index = series.firstIndex(where: { $0.contender == contender }) {
      series[index].samples.values.append(value)
    } else {
      series.append((contender, Samples(values: [value])))
    }
  }

  /// How many times as good flatcow is.
  func ratio(to contender: Contender) -> Double? {
    guard let own = self[.flatcow]?.median, let other = self[contender]?.median else { return nil }
    if own == other { return 1 }
    return unit.isCost ? other / own : own / other
  }
}
