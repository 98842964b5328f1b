import Synchronization

/// What storages in memory were asked to change, in one order. A storage has a journal of its own, unless several are given
/// the same one: an image and its external data file.
package final class StorageJournal: Sendable {
  package struct Entry: Equatable, Sendable {
    /// Which of the storages, in the order in which they were made.
    package var file: Int
    package var operation: StorageOperation

    package init(file: Int = 0, _ operation: StorageOperation) {
      self.file = file
      self.operation = operation
    }
  }

  private let state = Mutex(State())

  private struct State {
    var files = 0
    var entries: [Entry] = []
  }

  package init() {}

  package var entries: [Entry] { state.withLock { $0.entries } }
  package var count: Int { state.withLock { $0.entries.count } }

  package func forget() { state.withLock { $0.entries = [] } }

  func addFile() -> Int {
    state.withLock { state in
      defer { state.files += 1 }
      return state.files
    }
  }

  func append(_ operation: StorageOperation, file: Int) {
    state.withLock { $0.entries.append(Entry(file: file, operation)) }
  }
}
