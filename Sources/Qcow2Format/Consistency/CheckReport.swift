/// What is wrong in an image, by what it means for those who want to write it or to repair it.
enum ImageFault: CaseIterable {
  /// A cluster holds metadata and something else.
  case overlap
  /// What is mapped lies past the end of the file.
  case lost
  /// A table other than the mapping's own, or an entry of one: what it tells of cannot be known.
  case brokenTable
  /// An entry of the mapping is faulty in itself. Its range cannot be read; the rest is not concerned.
  case brokenEntry
  /// More uses than a refcount can say.
  case tooManyUses
  /// A refcount below the uses.
  case countTooLow
  /// The copied flag where the refcount is not 1: a write would be in place.
  case flagTooMany
  /// No copied flag where the refcount is 1: a write would copy.
  case flagMissing
  /// A refcount above the uses.
  case leak

  /// A write could destroy what is somebody else's.
  var forbidsWriting: Bool {
    switch self {
    case .overlap, .lost, .brokenTable, .tooManyUses, .countTooLow, .flagTooMany: true
    case .brokenEntry, .flagMissing, .leak: false
    }
  }

  /// What is used is not known, or cannot be said.
  var forbidsRepair: Bool {
    switch self {
    case .overlap, .lost, .brokenTable, .brokenEntry, .tooManyUses: true
    case .countTooLow, .flagTooMany, .flagMissing, .leak: false
    }
  }
}

/// What a check of an image found. `errors` can lose data; leaks only waste space.
package struct CheckReport: Sendable, Equatable {
  private var tally: [ImageFault: Tally] = [:]
  /// The first findings, a clause each.
  package private(set) var findings: [String] = []
  /// Guest clusters in use, how many of these are compressed, and how many the disk has.
  package var dataClusters = 0
  package var compressedClusters = 0
  package var totalClusters = 0

  private struct Tally: Equatable {
    var count: Int
    /// The first finding of this kind.
    let first: String
  }

  package var leaks: Int { tally[.leak]?.count ?? 0 }
  package var errors: Int { tally.values.reduce(0) { $0 + $1.count } - leaks }
  package var isClean: Bool { tally.isEmpty }

  /// More are counted, not listed.
  static let listed = 100

  mutating func add(_ fault: ImageFault, _ finding: @autoclosure () -> String) {
    if findings.count < Self.listed || tally[fault] == nil {
      let text = finding()
      if findings.count < Self.listed { findings.append(text) }
      if tally[fault] == nil { tally[fault] = Tally(count: 0, first: text) }
    }
    tally[fault]?.count += 1
  }

  /// Why a repair could lose data, and what else can be done; nil where nothing stands in its way.
  package var objectionToRepair: String? {
    first { $0.forbidsRepair }.map { "\($0.clause); \(wayOut(of: $0.fault))" }
  }

  /// Why the image must take no writes, and what can be done; nil where nothing stands in their way.
  var objectionToWriting: String? {
    first { $0.forbidsWriting }.map { "\($0.clause), so it cannot be written; \(wayOut(of: $0.fault))" }
  }

  private func wayOut(of fault: ImageFault) -> String {
    if fault == .lost {
      return "a backup may have it, `-o ro` serves the rest, and `qemu-img convert` copies that with zeros in its place"
    }
    return first { $0.forbidsRepair } == nil
      ? "`flatcow check --repair` mends that, `-o ro` serves it as it is"
      : "`-o ro` serves it as it is, and `qemu-img check -r all` may mend a copy of it"
  }

  private func first(where isMeant: (ImageFault) -> Bool) -> (fault: ImageFault, clause: String)? {
    let counted = ImageFault.allCases.lazy.filter(isMeant).compactMap { fault in tally[fault].map { (fault, $0) } }
    return counted.first.map { fault, tally in
      (fault, tally.count == 1 ? tally.first : "\(tally.first), one of \(tally.count) such faults")
    }
  }
}
