/// What work costs as the engine is now, all of it in one place: whoever makes something cheaper or dearer sees a test fail
/// that names the figure, and writes the measured one here, with the reason in the commit.
enum RecordedCosts {
  // MARK: Calls and bytes, which are the same on each host

  /// Of 32 MiB copied through a buffer and completed: what goes to the top's file beyond those bytes themselves.
  static let copied = HostCost(writes: 20, overhead: 131_592, syncs: 4)
  /// The same where the host shares the base's blocks.
  static let shared = HostCost(writes: 4, overhead: 131_592, syncs: 4)

  /// Of 4 KiB written and flushed, in a cluster of 64 KiB that the top has.
  static let syncedInPlace = HostCost(writes: 1, overhead: 0, syncs: 1)
  /// The same where the cluster is to be allocated over a backing file: the rest of it is copied, its refcount block is
  /// written whole, its L2 entry alone.
  static let syncedAllocating = HostCost(writes: 3, overhead: 126_984, syncs: 2)

  /// Clusters of the file after 320 were streamed into a disk of 1 GiB: two L2 tables, and four that an empty image has.
  static let sparseFileClusters = 320 + 2 + 4

  // MARK: Instructions in user mode of the release build, by callgrind, on x86-64

  /// A request for 4 KiB, from where the kernel hands it over to the answer, when the tables are in memory.
  static let instructionsOfReadFromTop = 3_700
  /// At depth 2, below a top that has other data.
  static let instructionsOfReadFromBase = 4_150
  /// At depth 33, below a top that has nothing.
  static let instructionsOfReadThroughLayers = 3_640
  static let instructionsOfWriteInPlace = 5_080
  /// Copied through a buffer.
  static let instructionsOfPopulatedMebibyte = 95_000
}

/// What goes to a host's file for some guest data.
struct HostCost: Equatable, CustomStringConvertible {
  var writes: Int
  /// Bytes written beyond those of the guest.
  var overhead: Int
  var syncs: Int

  var description: String { "HostCost(writes: \(writes), overhead: \(overhead), syncs: \(syncs))" }
}
