import Synchronization
import TestSupport

/// Threads that write to a disk and look at what they wrote, each in its own way, until they are stopped.
final class Guests: Sendable {
  private let flag: Flag
  private let writers: [Waiter<String?>]

  private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  init(
    _ ways: [GuestWriter.Way] = GuestWriter.Way.allCases, on disk: LayeredDisk, syncing: Bool = true,
    random: inout SeededRandom
  ) {
    let flag = Flag()
    self.flag = flag
    writers = ways.map { way in
      let writer = GuestWriter(
        images: disk.images, ledger: disk.ledger, way: way, isSyncing: syncing,
        isOver: { flag.isSet.load(ordering: .relaxed) }, seed: random.next())
      return Waiter { writer.run() }
    }
  }

  /// From now on, that the disk is gone is no failure.
  func release() { flag.isSet.store(true, ordering: .relaxed) }

  /// Stops them, and says what went wrong.
  func end() -> [String] {
    release()
    return writers.compactMap { $0.result() }
  }
}
