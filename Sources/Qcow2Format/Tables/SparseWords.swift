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

  /// Those of `words` that are not 0.
  init(_ words: [UInt64]) {
    self.init(count: words.count)
    var total = 0
    for word in words where word != 0 { total += 1 }
    stored.reserveCapacity(total)
    for number in groups.indices {
      var group = Group(rank: UInt32(stored.count))
      for index in number * 64..<min(count, number * 64 + 64) where words[index] != 0 {
        group.present |= Self.bit(of: index)
        stored.append(words[index])
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

  /// All words in `range`, those that are 0 too.
  subscript(range: Range<Int>) -> ArraySlice<UInt64> {
    var words = [UInt64](repeating: 0, count: range.count)
    var index = nextStored(from: range.lowerBound)
    while index < range.upperBound {
      words[index - range.lowerBound] = self[index]
      index = nextStored(from: index + 1)
    }
    return words[...]
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

  private static func bit(of index: Int) -> UInt64 { 1 << UInt64(index & 63) }

  private static func place(of index: Int, in group: Group) -> Int {
    Int(group.rank) + (group.present & (bit(of: index) - 1)).nonzeroBitCount
  }
}
