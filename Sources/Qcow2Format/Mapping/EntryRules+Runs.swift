import HostStorage
import ImageFormat

/// Where a guest offset is looked up.
struct TablePosition {
  let l1Index: Int
  /// Which entry of the L2 table.
  let entry: Int
  let offsetInCluster: Int
}

extension Qcow2Header {
  func position(of offset: GuestOffset) -> TablePosition {
    let cluster = offset.bytes >> clusterBits
    return TablePosition(
      l1Index: cluster / entriesPerL2, entry: cluster % entriesPerL2,
      offsetInCluster: offset.bytes & (clusterSize.bytes - 1))
  }
}

extension EntryRules {
  var wordsPerEntry: Int { hasExtendedL2 ? 2 : 1 }
  var subclusterBits: Int { hasExtendedL2 ? clusterBits - 5 : clusterBits }

  func entry(_ index: Int, in words: SparseWords) -> L2Entry {
    hasExtendedL2
      ? L2Entry(word: words[2 * index], bitmap: words[2 * index + 1]) : L2Entry(word: words[index], bitmap: 0)
  }

  func store(_ entry: L2Entry, at index: Int, in words: inout SparseWords) {
    if hasExtendedL2 {
      words[2 * index] = entry.word
      words[2 * index + 1] = entry.bitmap
    } else {
      words[index] = entry.word
    }
  }

  /// Where subcluster `index` of a cluster with this (faultless) entry begins.
  func mapping(of entry: L2Entry, subcluster index: Int) -> Mapping {
    if entry.isCompressed { return .compressed(compressed(entry), skip: ByteCount(index << subclusterBits)) }
    let hasHost = hasHostCluster(entry)
    let (isData, isZero): (Bool, Bool)
    if hasExtendedL2 {
      isData = entry.allocated >> UInt32(index) & 1 == 1
      isZero = entry.zeroed >> UInt32(index) & 1 == 1
    } else {
      isZero = hasZeroFlag && entry.word & L2Entry.Bits.zero != 0
      isData = hasHost && !isZero
    }
    if isZero { return .zero(reserved: hasHost) }
    return isData ? .data(at: entry.hostOffset + ByteCount(index << subclusterBits)) : .unallocated
  }

  /// The run that begins `offsetInCluster` bytes into entry `first` of a table, at most `limit` bytes long and within
  /// the table. Throws the fault of the first entry; a later faulty one ends the run.
  func run(in words: SparseWords, entry first: Int, offsetInCluster: Int, limit: Int) throws(EntryFault) -> Run {
    let unit = 1 << subclusterBits
    let perCluster = 1 << (clusterBits - subclusterBits)
    var index = first
    var entry = self.entry(index, in: words)
    if let reason = fault(in: entry) { throw EntryFault(reason: reason) }
    var subcluster = offsetInCluster >> subclusterBits
    let within = offsetInCluster & (unit - 1)
    let mapping = self.mapping(of: entry, subcluster: subcluster)
    let isUnallocated = mapping == .unallocated
    var count = unit - within
    while count < limit {
      subcluster += 1
      if subcluster == perCluster {
        subcluster = 0
        index += 1
        if isUnallocated {
          let next = words.nextStored(from: index * wordsPerEntry) / wordsPerEntry
          count += (next - index) << clusterBits
          index = next
        }
        guard index < words.count / wordsPerEntry else { break }
        entry = self.entry(index, in: words)
        guard fault(in: entry) == nil else { break }
      }
      guard self.mapping(of: entry, subcluster: subcluster) == mapping.continued(after: count + within) else { break }
      count += unit
    }
    return Run(mapping.continued(after: within), count: ByteCount(min(count, limit)))
  }
}

extension EntryRules {
  /// In an external data file the guest's bytes lie at their own offset (specification, "External data file").
  func checkPlace(_ host: HostOffset, of guest: GuestOffset) throws(EntryFault) {
    guard usesDataFile, host.bytes != guest.bytes else { return }
    throw EntryFault(reason: "a place in the external data file that is not its own")
  }
}

/// What is wrong with an L2 entry.
struct EntryFault: Error {
  let reason: String
}

extension Mapping {
  /// This mapping `bytes` further on. A compressed cluster goes on only within itself, which its `skip` tells.
  func continued(after bytes: Int) -> Mapping {
    switch self {
    case .unallocated, .zero: self
    case .data(let start): .data(at: start + ByteCount(bytes))
    case .compressed(let cluster, let skip): .compressed(cluster, skip: skip + ByteCount(bytes))
    }
  }
}
