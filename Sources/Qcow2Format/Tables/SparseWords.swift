import ImageFormat

/// The 64-bit words of a table, most of which are 0: only those that are not are stored.
///
/// A bit says of each word whether it is stored, and each 64 bits know how many stored words come before theirs, so that
/// a word is found without a search. A word that becomes 0 may stay stored.
struct SparseWords: Sendable {
  let count: Int
  private var groups: [Group]
  private var stored: [UInt64] = []

  /// Which of 64 words in a row are stored, and where.
  private struct Group {
    var present: UInt64 = 0
    var rank: UInt32 = 0
  }

  /// All of them 0.
  init(count: Int) {
    self.count = count
    groups = [Group](repeating: Group(), count: (count + 63) / 64)
  }

  /// The words of a table as it is in an image; an incomplete last one is left out.
  init(bigEndian bytes: Span<UInt8>) {
    self.init(count: bytes.count / 8)
    var total = 0
    for index in 0..<count where BigEndian.load(UInt64.self, from: bytes, at: index * 8) != 0 { total += 1 }
    stored.reserveCapacity(total)
    for number in groups.indices {
      var group = Group(rank: UInt32(stored.count))
      for index in number * 64..<min(count, number * 64 + 64) {
        let word = BigEndian.load(UInt64.self, from: bytes, at: index * 8)
        if word == 0 { continue }
        group.present |= Self.bit(of: index)
        stored.append(word)
      }
      groups[number] = group
    }
  }

  /// The memory that it takes, about.
  var bytes: Int { 64 + groups.count * MemoryLayout<Group>.stride + stored.capacity * 8 }

  subscript(index: Int) -> UInt64 {
    get {
      let group = groups[index >> 6]
      return group.present & Self.bit(of: index) == 0 ? 0 : stored[Self.place(of: index, in: group)]
    }
    set {
      let number = index >> 6
      let group = groups[number]
      let place = Self.place(of: index, in: group)
      if group.present & Self.bit(of: index) != 0 {
        stored[place] = newValue
      } else if newValue != 0 {
        // Doubling could take twice what a full table needs.
        if stored.count == stored.capacity { stored.reserveCapacity(min(count, stored.count + stored.count / 2 + 8)) }
        stored.insert(newValue, at: place)
        groups[number].present |= Self.bit(of: index)
        for later in number + 1..<groups.count { groups[later].rank += 1 }
      }
    }
  }

  /// The first stored word from number `index` on; `count` where there is none.
  func nextStored(from index: Int) -> Int {
    guard index < count else { return count }
    var number = index >> 6
    var present = groups[number].present & ~(Self.bit(of: index) - 1)
    while present == 0 {
      number += 1
      if number == groups.count { return count }
      present = groups[number].present
    }
    return number * 64 + present.trailingZeroBitCount
  }

  /// How the words in `range` stand in an image.
  func bigEndianBytes(in range: Range<Int>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count * 8)
    var index = nextStored(from: range.lowerBound)
    while index < range.upperBound {
      BigEndian.store(self[index], into: &bytes, at: (index - range.lowerBound) * 8)
      index = nextStored(from: index + 1)
    }
    return bytes
  }

  private static func bit(of index: Int) -> UInt64 { 1 << UInt64(index & 63) }

  private static func place(of index: Int, in group: Group) -> Int {
    Int(group.rank) + (group.present & (bit(of: index) - 1)).nonzeroBitCount
  }
}
