/// A row of the table.
protocol Workload: Sendable {
  /// What ONLY= knows it by.
  var name: String { get }

  /// Prepares what it takes, has everybody do it, and takes it away.
  func measure(_ bench: Bench) throws -> [Comparison]
}

/// All rows, those with the same images side by side.
enum Workloads {
  static let all: [any Workload] =
    FioWorkload.populated + FioWorkload.allocating + StreamingWorkload.all
    + [LayersWorkload(), MountWorkload(), MemoryWorkload(), GuestWorkload()]
}
