import HostStorage
import ImageFormat

/// What lies below the active layer, or between it and a base, worked out once.
///
/// The layers below are never written, so an answer is good for as long as the chain is the same, and a read costs one
/// look-up here at depth 2 and at depth 200. What is known is bounded: a part of it is forgotten where it gets too much.
final class BelowMap: Sendable {
  /// A run of the disk that one layer answers for.
  struct Answer: Equatable, Sendable {
    var range: GuestRange
    var mapping: Mapping
    /// The number of the layer that holds it, or says that it is zeros; the number behind the last one that was asked where
    /// none does.
    var layer: Int

    /// The same, from `offset` on.
    func from(_ offset: GuestOffset) -> Answer {
      let step = offset - range.start
      let rest = GuestRange(from: offset, to: range.end)
      switch mapping {
      case .data(let host): return Answer(range: rest, mapping: .data(at: host + step), layer: layer)
      case .compressed(let cluster, let skip):
        return Answer(range: rest, mapping: .compressed(cluster, skip: skip + step), layer: layer)
      case .zero, .unallocated: return Answer(range: rest, mapping: mapping, layer: layer)
      }
    }
  }

  /// What is known is kept by regions, and no answer crosses their borders.
  static let region = ByteCount(4 << 20)
  /// Where nothing is known, it is worked out from a multiple of this on: random small reads shall not leave a run each.
  private static let grain = ByteCount(65536)
  /// The most memory for answers: what each takes, and what a region takes by itself. Arrays have room to grow: up to twice.
  fileprivate static let limit = ByteCount(8 << 20)
  fileprivate static let regionCost = 128
  fileprivate static let shardCount = 16

  fileprivate struct Shard {
    var regions: [Int: [Answer]] = [:]
    var bytes = 0
  }

  /// Regions side by side are in different shards.
  private let shards = (0..<shardCount).map { _ in SharedShard() }

  private final class SharedShard: Sendable {
    let state = Lock(Shard())
  }

  /// The answer from `offset` on. `resolve` works out the first part of a range that is not known.
  func answer(at offset: GuestOffset, _ resolve: (GuestRange) throws(ChainError) -> Answer) throws(ChainError) -> Answer
  {
    let (region, _) = offset.bytes.quotientAndRemainder(dividingBy: Self.region.bytes)
    let shard = shards[region % Self.shardCount]
    while true {
      let gap: GuestRange
      switch shard.state.withLock({ $0.find(offset, inRegion: region) }) {
      case .known(let answer): return answer.from(offset)
      case .unknown(let range): gap = range
      }
      let start = max(gap.start, offset.roundedDown(to: Self.grain))
      let answer: Answer
      do throws(ChainError) {
        answer = try resolve(GuestRange(from: start, to: gap.end))
      } catch {
        // The fault may be of what lies before, for which nobody asked.
        guard start < offset else { throw error }
        answer = try resolve(GuestRange(from: offset, to: gap.end))
      }
      shard.state.withLock { $0.insert(answer, inRegion: region) }
      if offset < answer.range.end { return answer.from(offset) }
    }
  }
}

extension BelowMap.Shard {
  fileprivate enum Finding {
    case known(BelowMap.Answer)
    /// The range around the offset of which nothing is known.
    case unknown(GuestRange)
  }

  fileprivate func find(_ offset: GuestOffset, inRegion region: Int) -> Finding {
    let start = GuestOffset(region * BelowMap.region.bytes)
    guard let answers = regions[region] else { return .unknown(GuestRange(at: start, count: BelowMap.region)) }
    let next = Self.index(behind: offset, in: answers)
    if next > 0, offset < answers[next - 1].range.end { return .known(answers[next - 1]) }
    let from = next > 0 ? answers[next - 1].range.end : start
    let to = next < answers.count ? answers[next].range.start : start + BelowMap.region
    return .unknown(GuestRange(from: from, to: to))
  }

  /// Without effect where somebody else was faster.
  fileprivate mutating func insert(_ answer: BelowMap.Answer, inRegion region: Int) {
    guard case .unknown(let gap) = find(answer.range.start, inRegion: region), answer.range.end <= gap.end else {
      return
    }
    if bytes >= BelowMap.limit.bytes / BelowMap.shardCount {
      regions = [:]
      bytes = 0
    }
    let place = regions[region].map { Self.index(behind: answer.range.start, in: $0) }
    regions[region, default: []].insert(answer, at: place ?? 0)
    bytes += MemoryLayout<BelowMap.Answer>.stride + (place == nil ? BelowMap.regionCost : 0)
  }

  /// The first answer that begins behind `offset`.
  private static func index(behind offset: GuestOffset, in answers: [BelowMap.Answer]) -> Int {
    var (low, high) = (0, answers.count)
    while low < high {
      let middle = (low + high) / 2
      if answers[middle].range.start <= offset { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
