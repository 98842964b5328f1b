import BackingChain
import HostStorage
import ImageFormat
import StreamJob
import TestSupport

/// What a guest and the job do to a chain in memory, while an oracle notes what a crash may leave.
struct CrashProgram {
  /// One thing that is done.
  enum Step {
    case write(GuestRange)
    case zero(GuestRange, reserving: Bool)
    case populate(GuestRange)
    case flush
    /// A flush, and within its Nth write or sync a guest's write (or zeros) that it need not cover.
    case race(GuestRange, zeros: Bool, call: Int)
    /// Everything is populated, and the header names layer `kept` below (nil: none), by `name` where it is not that layer's own.
    case complete(kept: Int?, name: String? = nil)
    /// Everything is populated, as if nothing were to be kept.
    case populateAll
    /// A job populates everything, as if nothing were to be kept; then it is told to complete, and to keep layer `kept` below.
    case job(kept: Int)
  }

  let images: CrashImages
  let storages: [MemoryStorage]
  let chain: BackingChain
  private let journal = StorageJournal()
  private var oracle: SectorOracle
  private(set) var model: [UInt8]
  private var names: HeaderNames
  private(set) var steps: [Step] = []
  /// The journal's length when the first completion, with its copying, began.
  private var streamBegan: Int?

  init(_ geometry: CrashGeometry, seed: UInt64) throws {
    images = try CrashImages(geometry, seed: seed)
    let journal = journal
    storages = zip(images.active, ["top.qcow2", "top.data"]).map { content, name in
      MemoryStorage(content, path: name, journal: journal)
    }
    chain = try images.chain(storages, kept: 0)
    names = HeaderNames(images.below[0].recorded)
    model = images.disk
    oracle = SectorOracle(model)
    try expectModel()
  }

  struct Difference: Error { let steps: [Step] }

  /// The disk is as it should be without any crash.
  private func expectModel() throws {
    if try chain.wholeDisk() != model { throw Difference(steps: steps) }
  }

  mutating func run(_ steps: [Step]) throws {
    for step in steps { try perform(step) }
    try perform(.flush)
    try expectModel()
    try chain.close()
  }

  /// What a crash at any moment of it may leave.
  func record(_ title: String) -> CrashRecord {
    CrashRecord(
      title: "\(title): \(steps.map { "\($0)" }.joined(separator: "; "))", images: images, log: journal.entries,
      oracle: oracle, names: names, streamBegan: streamBegan)
  }

  /// The journal's length.
  var position: Int { journal.count }

  mutating func perform(_ step: Step) throws {
    steps.append(step)
    if step.isOfStream { streamBegan = streamBegan ?? position }
    switch step {
    case .write(let range):
      let bytes = note(range, zeros: false, position: journal.count)
      try chain.write(bytes.span, at: range.start)
    case .zero(let range, let reserving):
      _ = note(range, zeros: true, position: journal.count)
      try chain.zero(range, reserving: reserving)
    case .populate(let range): _ = try chain.populate(range, above: nil)
    case .populateAll: try populateAll(above: nil)
    case .flush:
      try chain.flush()
      oracle.didFlush(position: journal.count)
    case .race(let range, let zeros, let call): try race(range, zeros: zeros, call: call)
    case .job(let kept): try completeByJob(kept: kept)
    case .complete(let kept, let name): try complete(kept: kept ?? images.below.count, name: name)
    }
  }

  /// Tells the model and the oracle what is written from `position` on.
  private mutating func note(_ range: GuestRange, zeros: Bool, position: Int) -> [UInt8] {
    let bytes =
      zeros
      ? [UInt8](repeating: 0, count: range.count.bytes)
      : stamp(UInt8(steps.count % 100 + 1), at: range.start.bytes, count: range.count.bytes)
    model.replaceSubrange(range.start.bytes..<range.end.bytes, with: bytes)
    oracle.willWrite(bytes, at: range.start.bytes, position: position)
    return bytes
  }

  private mutating func race(_ range: GuestRange, zeros: Bool, call: Int) throws {
    let mark = oracle.mark
    let began = Monitor<Int?>(nil)
    let chain = chain
    let journal = journal
    let calls = Monitor(0)
    let value = UInt8(steps.count % 100 + 1)
    let act: @Sendable () throws -> Void = {
      began.withLock { $0 = journal.count }
      if zeros {
        try chain.zero(range, reserving: false)
      } else {
        try chain.write(stamp(value, at: range.start.bytes, count: range.count.bytes).span, at: range.start)
      }
    }
    storages[0].setHook { action, _ in
      guard action == .write || action == .sync else { return }
      let isNow = calls.withLock { calls in
        calls += 1
        return calls == call
      }
      // What fails leaves a disk that differs from the model.
      if isNow { try? act() }
    }
    try chain.flush()
    storages[0].setHook(nil)
    let flushed = journal.count
    if let position = began.read({ $0 }) {
      _ = note(range, zeros: zeros, position: position)
      oracle.didFlush(mark, position: flushed)
    } else {
      oracle.didFlush(position: flushed)
      _ = note(range, zeros: zeros, position: flushed)
      try act()
    }
  }

  /// The layer that is number `kept` below, nil for none.
  func layer(_ kept: Int) -> Layer? { chain.snapshot.layers.dropFirst().suffix(images.below.count - kept).first }

  private func populateAll(above base: Layer?) throws {
    var position = GuestOffset(0)
    while let range = try chain.nextUnpopulated(from: position, above: base) {
      _ = try chain.populate(range, above: base)
      position = range.end
    }
  }

  private mutating func complete(kept: Int, name: String?) throws {
    try populateAll(above: layer(kept))
    var backing = kept < images.below.count ? images.below[kept].recorded : nil
    if let name { backing?.name = Array(name.utf8) }
    let began = journal.count
    try chain.complete(recording: backing, keeping: layer(kept))
    noteCompletion(backing, kept: kept, began: began)
  }

  private mutating func completeByJob(kept: Int) throws {
    var options = StreamOptions()
    options.start = .on
    let job = StreamJob(PlacelessTarget(chain), options: options)
    defer { _ = job.shutDown(patience: .seconds(60)) }
    let changes = Monitor(0)
    job.onChange { changes.withLock { $0 += 1 } }
    while job.status.state != .pending {
      guard job.status.state.hasJob else { throw Difference(steps: steps) }
      _ = changes.wait(deadline: .now + .milliseconds(20)) { _ in job.status.state == .pending ? () : nil }
    }
    let backing = images.below[kept].recorded
    let began = position
    let answer = Monitor<Result<Void, StreamError>?>(nil)
    _ = job.requestCompletion(backing.name, blocking: true) { result in answer.withLock { $0 = result } }
    try answer.wait { $0 }.get()
    noteCompletion(backing, kept: kept, began: began)
  }

  /// The header has named `backing` since a moment after `began`, for certain since now.
  private mutating func noteCompletion(_ backing: RecordedBacking?, kept: Int, began: Int) {
    names.change(to: backing, kept: kept, began: began, ended: journal.count)
    oracle.didFlush(position: journal.count)
  }
}

extension CrashProgram.Step {
  fileprivate var isOfStream: Bool {
    switch self {
    case .write, .zero, .populate, .flush, .race: false
    case .populateAll, .job, .complete: true
    }
  }
}
