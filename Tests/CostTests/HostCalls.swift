import HostStorage
import Synchronization
import TestSupport

/// Counts what storages in memory are asked for.
final class HostCalls: Sendable {
  struct Sum: Equatable {
    var calls = 0
    var bytes = 0
  }

  private let sums = Mutex<[StorageAction: Sum]>([:])

  func count(on storage: MemoryStorage) {
    storage.setHook { [self] action, range in
      sums.withLock { sums in
        sums[action, default: Sum()].calls += 1
        sums[action, default: Sum()].bytes += range.count.bytes
      }
    }
  }

  subscript(action: StorageAction) -> Sum { sums.withLock { $0[action, default: Sum()] } }

  /// What `work` asks for.
  func during(_ work: () throws -> Void) rethrows -> [StorageAction: Sum] {
    sums.withLock { $0 = [:] }
    try work()
    return sums.withLock { $0 }
  }

  /// What `work` costs that brings `count` bytes of the guest to the host.
  func cost(ofBringing count: Int, _ work: () throws -> Void) rethrows -> HostCost {
    let sums = try during(work)
    let shared = sums[.clone, default: Sum()].bytes
    let written = sums[.write, default: Sum()]
    return HostCost(
      writes: written.calls, overhead: written.bytes + shared - count, syncs: sums[.sync, default: Sum()].calls)
  }
}
