import HostStorage
import ImageFormat

// Which host clusters hold metadata: guest data may never be written there.
extension Refcounts {
  /// Notes all metadata of the image that is opened, and refuses an image whose metadata overlaps or is not counted as used.
  func learnMetadata(l1: [UInt64]) throws(ImageError) {
    try state.withLock { (state) throws(ImageError) in
      try state.claim(HostRange(at: HostOffset(0), count: header.clusterSize), as: "header")
      try state.claim(HostRange(at: header.l1Offset, count: ByteCount(header.l1Count * 8)), as: "L1 table")
      try state.claim(
        HostRange(at: header.refcountTableOffset, count: header.clusterSize * header.refcountTableClusters),
        as: "refcount table")
      for entry in state.table where entry != 0 {
        guard let start = header.clusterOffset(entry) else {
          throw state.corrupt("a refcount table entry is not a cluster's offset")
        }
        try state.claim(HostRange(at: start, count: header.clusterSize), as: "refcount block")
      }
      for entry in l1 {
        // A table that only looks wrong makes its own range unreadable; see `MappingTables`.
        guard let home = header.clusterOffset(entry & L2Entry.Bits.offset) else { continue }
        try state.claim(HostRange(at: home, count: header.clusterSize), as: "L2 table")
      }
    }
  }

  func hasMetadata(in range: HostRange) -> Bool {
    state.withLock { state in state.clusters(of: range).contains { state.metadata.contains($0) } }
  }
}

extension Refcounts.State {
  /// Takes clusters for metadata; each must be used, and by nothing else.
  fileprivate mutating func claim(_ range: HostRange, as what: String) throws(ImageError) {
    for cluster in clusters(of: range) {
      guard metadata.insert(cluster).inserted else { throw refusal("the \(what) overlaps other metadata") }
      guard try count(of: cluster) > 0 else { throw refusal("the refcount of the \(what) is 0") }
    }
  }

  private func refusal(_ reason: String) -> ImageError {
    ImageError(
      .corrupt, path: storage.path,
      reason: "\(reason), so it cannot be written; repair it with `qemu-img check -r all`, or mount it with -o ro")
  }
}
