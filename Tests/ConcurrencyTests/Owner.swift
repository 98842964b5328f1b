import BackingChain
import HostStorage
import ImageFormat
import TestSupport

/// One of several threads of the guest: it owns bytes that nobody else writes, within clusters that others write too, and
/// knows what they are; and it takes part in the arena.
struct Owner {
  static let count = 4
  /// Of sectors: every fourth is an owner's.
  static let single = 0..<384
  /// Of sectors: blocks that end inside clusters.
  static let blocks = 384..<640
  private static let blockLength = 20

  private let number: Int
  private let chain: BackingChain
  private let arena: SharedSectors
  private var model: [UInt8]
  private var random: SeededRandom
  private var turn = 0
  private(set) var complaints: [String] = []

  init(number: Int, chain: BackingChain, arena: SharedSectors, initial: [UInt8], seed: UInt64) {
    (self.number, self.chain, self.arena, model) = (number, chain, arena, initial)
    random = SeededRandom(seed: seed &+ UInt64(number) &* 7919)
  }

  /// One request.
  mutating func step() {
    turn += 1
    do {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<3: try request(inOwn: ownSector())
      case 3..<6: try request(inOwn: ownBlock())
      default: try requestInArena()
      }
    } catch {
      complaints.append("a request failed: \(error)")
    }
  }

  private mutating func ownSector() -> Range<Int> {
    let sector = Int.random(in: 0..<Self.single.count / Self.count, using: &random) * Self.count + number
    return sector * 512..<(sector + 1) * 512
  }

  private mutating func ownBlock() -> Range<Int> {
    let rows = Self.blocks.count / (Self.blockLength * Self.count)
    let block = Int.random(in: 0..<rows, using: &random) * Self.count + number
    let start = Self.blocks.lowerBound + block * Self.blockLength
    return start * 512..<(start + Self.blockLength) * 512
  }

  private mutating func request(inOwn place: Range<Int>) throws {
    var range = place
    if random.oneIn(2) {
      let part = random.range(below: place.count, longest: place.count)
      range = place.lowerBound + part.lowerBound..<place.lowerBound + part.upperBound
    }
    switch Int.random(in: 0..<8, using: &random) {
    case 0...3:
      let bytes = random.bytes(count: range.count)
      try chain.write(bytes.span, at: GuestOffset(range.lowerBound))
      model.replaceSubrange(range, with: bytes)
    case 4, 5:
      let zeroed = GuestRange(at: GuestOffset(range.lowerBound), count: ByteCount(range.count))
      try chain.zero(zeroed, reserving: random.oneIn(2))
      model.replaceSubrange(range, with: repeatElement(0, count: range.count))
    default: try expectOwn(place)
    }
  }

  private mutating func requestInArena() throws {
    let count = Int.random(in: 1...32, using: &random)
    let first = Int.random(in: arena.sectors.lowerBound...(arena.sectors.upperBound - count), using: &random)
    // Whole clusters, mostly, for those are given back.
    let range =
      random.oneIn(3) ? first..<first + count : (first / 8 * 8..<(first + count + 7) / 8 * 8).clamped(to: arena.sectors)
    let place = GuestRange(at: GuestOffset(range.lowerBound * 512), count: ByteCount(range.count * 512))
    switch Int.random(in: 0..<6, using: &random) {
    case 0, 1:
      try arena.write(range, isZero: false, tag: number + 1) { try chain.write($0.span, at: place.start) }
    case 2:
      let reserving = random.oneIn(4)
      try arena.write(range, isZero: true, tag: 0) { _ in try chain.zero(place, reserving: reserving) }
    default:
      if let strange = try arena.read(range, { try chain.bytes(in: place) }) {
        complaints.append(strange)
      }
    }
  }

  private mutating func expectOwn(_ place: Range<Int>) throws {
    let found = try chain.bytes(in: GuestRange(at: GuestOffset(place.lowerBound), count: ByteCount(place.count)))
    if found == Array(model[place]) { return }
    let position = found.indices.first { found[$0] != model[place.lowerBound + $0] } ?? 0
    complaints.append("owner \(number), turn \(turn): byte \(place.lowerBound + position) is not what it wrote")
  }

  /// What went wrong, after a last look at everything that it owns.
  mutating func complaintsAtTheEnd() -> [String] {
    do {
      if complaints.isEmpty { try expectAllOwn() }
    } catch {
      complaints.append("a read failed: \(error)")
    }
    return complaints
  }

  private mutating func expectAllOwn() throws {
    for sector in Self.single where sector % Self.count == number { try expectOwn(sector * 512..<(sector + 1) * 512) }
    let blocks = Self.blocks.count / (Self.blockLength * Self.count) * Self.count
    for block in 0..<blocks where block % Self.count == number {
      let start = Self.blocks.lowerBound + block * Self.blockLength
      try expectOwn(start * 512..<(start + Self.blockLength) * 512)
    }
  }
}

extension BackingChain {
  func bytes(in range: GuestRange) throws(ChainError) -> [UInt8] {
    try [UInt8](capacity: range.count.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try read(range, into: &output)
    }
  }

  /// All that the guest reads.
  func contents() throws(ChainError) -> [UInt8] { try bytes(in: GuestRange(at: GuestOffset(0), count: virtualSize)) }
}
