import BackingChain
import ImageFormat
import Qcow2Format
import TestSupport

/// What may be wrong with what a crash left.
enum CrashFault: String, CaseIterable, Sendable {
  /// A sector holds something older than what was flushed.
  case lost
  /// A sector holds what it never held.
  case foreign
  case unopenable
  /// The metadata contradicts itself.
  case damaged
  /// The header names neither the old nor the new backing image.
  case misnamed
  /// QEMU finds errors, or reads other bytes.
  case refusedByQemu
}

/// What is found of many crashes.
struct CrashFigures: Sendable {
  var states = 0
  /// Of what was on the host.
  var hashes: Set<Int> = []
  var faults: [CrashFault: Int] = [:]
  /// Moments of a stream and its completion at which the power was cut.
  var streamPoints = 0
  var judgedByQemu = 0
  /// The first finding of each kind.
  private(set) var findings: [CrashFault: String] = [:]

  mutating func add(_ fault: CrashFault, _ finding: String) {
    faults[fault, default: 0] += 1
    if findings[fault] == nil { findings[fault] = finding }
  }

  static func += (sum: inout CrashFigures, more: CrashFigures) {
    sum.states += more.states
    sum.hashes.formUnion(more.hashes)
    sum.faults.merge(more.faults, uniquingKeysWith: +)
    sum.streamPoints += more.streamPoints
    sum.judgedByQemu += more.judgedByQemu
    sum.findings.merge(more.findings) { first, _ in first }
  }
}

/// Cuts the power at every moment of a program, and looks at what is left: the header, the check, and the data.
struct CrashJudge {
  let record: CrashRecord
  /// States for each moment.
  var share: Int
  /// Every so many distinct states, one is shown to QEMU; nil: none.
  var qemuEvery: Int?

  /// Within `positions`, nil: all of them.
  func run(seed: UInt64, in positions: Range<Int>? = nil) throws -> CrashFigures {
    var figures = CrashFigures()
    var judged = Set<[Int]>()
    var position = -1
    let folder = qemuEvery == nil ? nil : try CrashFolder(record.images.below, names: record.names)
    try record.replay.states(perPosition: share, in: positions, seed: seed) { state in
      figures.states += 1
      if state.position != position, let began = record.streamBegan, state.position > began {
        figures.streamPoints += 1
      }
      position = state.position
      let hash = state.contentHash
      let isNew = figures.hashes.insert(hash).inserted
      // What is known of the same bytes holds as long as the guest wrote and flushed nothing, and no name began or ended.
      let names = record.names.allowed(at: position)
      guard judged.insert([hash, record.oracle.notes(at: position), names.startIndex, names.endIndex]).inserted else {
        return
      }
      let found = examine(state, as: names)
      if let fault = found.fault {
        figures.add(fault.kind, "\(record.title)\nposition \(position) state \(state.number): \(fault.text)")
      }
      guard isNew, let folder, let qemuEvery, figures.hashes.count % qemuEvery == 0, let disk = found.disk else {
        return
      }
      figures.judgedByQemu += 1
      if let finding = try folder.objection(to: state.contents, reading: disk) {
        figures.add(.refusedByQemu, "\(record.title)\nposition \(position) state \(state.number): \(finding)")
      }
    }
    return figures
  }

  private typealias Finding = (kind: CrashFault, text: String)

  private func examine(_ state: CrashReplay.State, as names: ArraySlice<HeaderNames.Name>) -> (
    disk: [UInt8]?, fault: Finding?
  ) {
    let storages = state.contents.map { MemoryStorage($0, path: "top.qcow2") }
    do {
      let header = try Qcow2Header.read(from: storages[0])
      guard let name = names.first(where: { $0.backing == header.backing }) else {
        return (nil, (.misnamed, "\(String(describing: header.backing))"))
      }
      // Deferred refcounts are wrong until the image is opened for writing.
      if !header.isMarkedDirty, let damage = try damage(header, storages[0]) { return (nil, damage) }
      let disk = try record.images.chain(storages, kept: name.kept).wholeDisk()
      if header.isMarkedDirty, let damage = try damage(Qcow2Header.read(from: storages[0]), storages[0]) {
        return (nil, damage)
      }
      let violation = record.oracle.violation(in: disk, at: state.position)
      return (disk, violation.map { ($0.isForeign ? .foreign : .lost, "\($0)") })
    } catch {
      return (nil, (.unopenable, "\(error)"))
    }
  }

  private func damage(_ header: Qcow2Header, _ storage: MemoryStorage) throws -> Finding? {
    let report = try Qcow2Check.run(on: header, in: storage)
    return report.errors == 0 ? nil : (.damaged, "\(report.findings)")
  }
}
