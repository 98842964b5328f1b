import HostStorage
import ImageFormat
import Synchronization

/// The order in which an active image reaches its host file; nothing else writes a table.
///
/// A flush freezes the mappings that are published, the epoch, and then
///
///     a  new and changed refcount blocks, new L2 tables, a new refcount table; sync (this also syncs the guest's data)
///     r  where blocks are new: the refcount table's entries, or the header's pointer to a new table; sync
///     b  the epoch's L2 entries and L1 entries; sync
///     c  what the epoch dropped goes into quarantine, what has drained there is released
///
/// A mapping is published only after its data was written, so the sync of (a) covers the data of the whole epoch. One that
/// is published during the flush changes a copy of its table, and waits for the next.
final class FlushOrder: Sendable {
  private let tables: MappingTables
  private let refcounts: Refcounts
  private let sector: HeaderSector
  private let storage: any Storage
  private let dataStorage: any Storage
  private let requests: RequestTracker
  private let punches: Bool
  private let turn = Monitor(Turn())

  private struct Turn {
    var isRunning = false
    var started = 0
    var succeeded = 0
  }

  init(
    tables: MappingTables, refcounts: Refcounts, sector: HeaderSector, dataStorage: any Storage,
    requests: RequestTracker, punches: Bool
  ) {
    self.tables = tables
    self.refcounts = refcounts
    self.sector = sector
    storage = tables.storage
    self.dataStorage = dataStorage
    self.requests = requests
    self.punches = punches
  }

  /// Makes durable what was written and published before the call. A flush that begins after the call serves any number
  /// of callers.
  func flush() throws(ImageError) {
    let needed = turn.read { $0.started + 1 }
    let isServed = turn.wait { turn -> Bool? in
      if turn.succeeded >= needed { return true }
      if turn.isRunning { return nil }
      turn.isRunning = true
      turn.started += 1
      return false
    }
    if isServed { return }
    var result: Int?
    defer {
      turn.withLock { turn in
        turn.isRunning = false
        if result != nil { turn.succeeded = turn.started }
      }
    }
    try run()
    result = 0
  }

  private func run() throws(ImageError) {
    let epoch = tables.freeze()
    let counts = refcounts.freeze()
    do throws(StorageError) {
      try writeNew(epoch, counts)
      try sync()
    } catch {
      tables.restore(epoch)
      refcounts.restore(counts)
      throw ImageError(error)
    }
    do throws(ImageError) {
      try publishBlocks(counts)
    } catch {
      tables.restore(epoch)
      refcounts.restore(counts)
      throw error
    }
    refcounts.thaw(counts)
    do throws(StorageError) {
      try writeMappings(epoch)
    } catch {
      tables.restore(epoch, newTablesAreDurable: true)
      throw ImageError(error)
    }
    tables.thaw(epoch)
    refcounts.admit(epoch.dropped)
    // All of the epoch is durable. What cannot be released now stays in quarantine.
    try? release()
  }

  /// Releases what nobody can look at any more; a flush does it, too. Not while one runs.
  func release() throws(ImageError) {
    try refcounts.release(drainedBy: requests, punching: punches ? storage : nil)
  }

  private func writeNew(_ epoch: Epoch, _ counts: FrozenCounts) throws(StorageError) {
    for block in counts.blocks { try storage.write(block.bytes.span, at: block.home) }
    for table in epoch.tables where table.isNew {
      try storage.write(BigEndian.bytes(of: table.words[0..<table.words.count]).span, at: table.home)
    }
    if let table = counts.movedTable {
      try storage.write(BigEndian.bytes(of: counts.table[...]).span, at: table.start)
    }
  }

  private func sync() throws(StorageError) {
    if dataStorage !== storage { try dataStorage.sync() }
    try storage.sync()
  }

  private func publishBlocks(_ counts: FrozenCounts) throws(ImageError) {
    if let table = counts.movedTable {
      try sector.setRefcountTable(at: table.start, clusters: table.count.bytes / counts.clusterSize.bytes)
    } else if !counts.entries.isEmpty {
      do throws(StorageError) {
        for entry in counts.entries {
          try storage.write(
            BigEndian.bytes(of: counts.table[entry...entry]).span, at: counts.tableHome + ByteCount(entry * 8))
        }
        try storage.sync()
      } catch {
        throw ImageError(error)
      }
    }
  }

  private func writeMappings(_ epoch: Epoch) throws(StorageError) {
    var isWritten = false
    for table in epoch.tables where !table.isNew {
      try storage.write(
        BigEndian.bytes(of: table.words[table.changed]).span, at: table.home + ByteCount(table.changed.lowerBound * 8))
      isWritten = true
    }
    for (index, entry) in epoch.l1 {
      try storage.write(BigEndian.bytes(of: [entry]).span, at: tables.header.l1Offset + ByteCount(index * 8))
      isWritten = true
    }
    if isWritten { try storage.sync() }
  }
}
