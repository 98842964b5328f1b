import HostStorage

// Which host clusters hold metadata: guest data may never be written there.
extension Refcounts {
  /// Notes clusters that a survey found to hold metadata.
  func fence(_ clusters: some Sequence<Int>) {
    state.withLock { $0.metadata.formUnion(clusters) }
  }

  func hasMetadata(in range: HostRange) -> Bool {
    state.withLock { state in state.clusters(of: range).contains { state.metadata.contains($0) } }
  }
}
