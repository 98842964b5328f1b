import ImageFormat
import TestSupport

/// What a program asked of the storages, and what a crash at any moment of it may leave.
struct CrashRecord: Sendable {
  var title: String
  var images: CrashImages
  var log: [StorageJournal.Entry]
  var oracle: SectorOracle
  var names: HeaderNames
  /// From where on the log is that of a stream and its completion.
  var streamBegan: Int?

  var replay: CrashReplay { CrashReplay(initial: images.active, log: log) }
}

/// Which backing image the header names, at every moment of a program.
struct HeaderNames: Sendable {
  struct Name: Sendable {
    var backing: RecordedBacking?
    /// The first of the layers below that it leads to; their number for none.
    var kept: Int
    /// Nothing of the switch had been asked of the storage at `began`; it had returned at `ended`.
    var began: Int
    var ended: Int
  }

  private(set) var all: [Name]

  init(_ backing: RecordedBacking?) { all = [Name(backing: backing, kept: 0, began: 0, ended: 0)] }

  mutating func change(to backing: RecordedBacking?, kept: Int, began: Int, ended: Int) {
    all.append(Name(backing: backing, kept: kept, began: began, ended: ended))
  }

  /// The names that a header may have after a crash at `position`: the old one and the new one within a switch.
  func allowed(at position: Int) -> ArraySlice<Name> {
    let settled = all.lastIndex { $0.ended <= position } ?? 0
    return all[settled...].prefix { $0.began < position || $0.ended <= position }
  }
}
