/// What has happened since the files' last syncs: the versions of each sector and of each size, oldest first; the first is
/// the durable one.
struct CrashEpoch {
  static let sector = 512

  private var durable: [SparseBytes]
  private var newest: [SparseBytes]
  private var sizes: [[Version<Int>]]
  private var sectors: [Place: [Version<[UInt8]>]] = [:]
  private var operations = 0
  /// The operations that no sync has covered, and their files.
  private var unsynced: [(operation: Int, file: Int)] = []

  struct Version<Value> {
    /// 0: durable.
    var operation: Int
    var value: Value
  }

  struct Place: Hashable, Comparable {
    var file: Int
    var start: Int

    static func < (one: Place, other: Place) -> Bool { (one.file, one.start) < (other.file, other.start) }
  }

  /// Which version of each size, and of each sector that has several.
  struct Choice {
    var sizes: [Int]
    var sectors: [Place: Int]
  }

  init(durable: [SparseBytes]) {
    self.durable = durable
    newest = durable
    sizes = durable.map { [Version(operation: 0, value: $0.size)] }
  }

  mutating func add(_ entry: StorageJournal.Entry) {
    let file = entry.file
    if entry.operation == .sync {
      durable[file] = newest[file]
      sizes[file] = [Version(operation: 0, value: newest[file].size)]
      sectors = sectors.filter { $0.key.file != file }
      unsynced.removeAll { $0.file == file }
      return
    }
    operations += 1
    unsynced.append((operations, file))
    let before = newest[file]
    entry.operation.apply(to: &newest[file])
    let after = newest[file]
    if after.size != before.size { sizes[file].append(Version(operation: operations, value: after.size)) }
    for start in touched(by: entry.operation, before: before) {
      let sector = start..<(start + Self.sector)
      let (old, new) = (before.bytes(in: sector), after.bytes(in: sector))
      if old == new { continue }
      let durable = [Version(operation: 0, value: old)]
      sectors[Place(file: file, start: start), default: durable].append(Version(operation: operations, value: new))
    }
  }

  /// The sectors that an operation may have changed.
  private func touched(by operation: StorageOperation, before: SparseBytes) -> [Int] {
    switch operation {
    case .write(let bytes, let offset) where !bytes.isEmpty:
      Array(stride(from: offset / Self.sector * Self.sector, to: offset + bytes.count, by: Self.sector))
    default:
      before.units(of: Self.sector, in: operation.range)
    }
  }

  func contents(_ choice: Choice) -> [SparseBytes] {
    var contents = durable
    for (place, version) in choice.sectors where version > 0 {
      if let bytes = sectors[place]?[version].value { contents[place.file].overlay(bytes[...], at: place.start) }
    }
    for file in contents.indices { contents[file].resize(to: sizes[file][choice.sizes[file]].value) }
    return contents
  }

  func choices(atMost limit: Int, using random: inout SeededRandom) -> [Choice] {
    let places = sectors.keys.sorted()
    let counts = sizes.map(\.count) + places.map { sectors[$0]?.count ?? 0 }
    var total = 1
    for count in counts where total <= limit { total *= count }
    if total <= limit { return (0..<total).map { everyChoice($0, places, counts) } }

    // A small share is better spent on losses: nothing lost and everything lost come up at other positions.
    var choices = limit < 4 ? [] : [upTo { _ in true }, upTo { _ in false }] + firstSectorAlone().prefix(limit / 2)
    if unsynced.count < 16, 1 << unsynced.count <= limit {
      choices += (1..<(1 << unsynced.count) - 1).map { subset in
        upTo { operation in
          unsynced.firstIndex { $0.operation == operation }.map { subset & 1 << $0 != 0 } ?? false
        }
      }
    }
    while choices.count < limit { choices.append(someChoice(places, counts, using: &random)) }
    return Array(choices.prefix(limit))
  }

  /// The digits of `number`, the version counts being their bases.
  private func everyChoice(_ number: Int, _ places: [Place], _ counts: [Int]) -> Choice {
    var rest = number
    let digits = counts.map { count in
      defer { rest /= count }
      return rest % count
    }
    return choice(digits, places)
  }

  private func choice(_ digits: [Int], _ places: [Place]) -> Choice {
    Choice(
      sizes: Array(digits.prefix(sizes.count)),
      sectors: Dictionary(uniqueKeysWithValues: zip(places, digits.dropFirst(sizes.count))))
  }

  /// The first file's first sector is an image's header: nothing but it survives, and all but it.
  private func firstSectorAlone() -> [Choice] {
    let first = Place(file: 0, start: 0)
    guard let versions = sectors[first] else { return [] }
    var (without, alone) = (upTo { _ in true }, upTo { _ in false })
    without.sectors[first] = 0
    alone.sectors[first] = versions.count - 1
    return [without, alone]
  }

  private func someChoice(_ places: [Place], _ counts: [Int], using random: inout SeededRandom) -> Choice {
    let one = unsynced.randomElement(using: &random)?.operation ?? 0
    switch Int.random(in: 0..<5, using: &random) {
    case 0:  // Whole operations survive or not.
      var survivors = Set<Int>()
      for (operation, _) in unsynced where Bool.random(using: &random) { survivors.insert(operation) }
      return upTo(survivors.contains)
    case 1:  // One operation is lost.
      return upTo { $0 != one }
    case 2:  // One operation survives.
      return upTo { $0 == one }
    case 3:  // Nothing is lost that had begun before some moment, and all after it.
      return upTo { $0 < one }
    default:
      return choice(counts.map { Int.random(in: 0..<$0, using: &random) }, places)
    }
  }

  /// Of everything the newest version that a surviving operation made.
  private func upTo(_ survives: (Int) -> Bool) -> Choice {
    Choice(
      sizes: sizes.map { versions in versions.lastIndex { $0.operation == 0 || survives($0.operation) } ?? 0 },
      sectors: sectors.mapValues { versions in
        versions.lastIndex { $0.operation == 0 || survives($0.operation) } ?? 0
      })
  }
}
