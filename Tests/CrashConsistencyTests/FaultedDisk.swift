import BackingChain
import Glibc
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport

/// One run of a scenario with one fault: what its guest must read, and a complaint for whatever is not so.
struct FaultedDisk {
  private let scenario: FaultScenario
  private let action: StorageAction
  private let fault: FaultPlan.Fault
  private let images: FaultImages
  private var top: MemoryStorage
  private var data: MemoryStorage?
  private let middle: MemoryStorage
  private let base: MemoryStorage
  private var chain: BackingChain?
  private var model: [UInt8] = []
  /// What the disk was at every moment: after a lost sync any of it may be what the host keeps.
  private var versions: [[UInt8]] = []
  /// A sync failed, or nobody knows what the header says: every later sync has to fail.
  private var isLost = false
  /// Its own metadata was cut off under it: the image takes no more writes.
  private var takesNoWrites = false
  private(set) var complaints: [String] = []

  init(_ scenario: FaultScenario, _ images: FaultImages, action: StorageAction, fault: FaultPlan.Fault) {
    (self.scenario, self.images, self.action, self.fault) = (scenario, images, action, fault)
    top = MemoryStorage(images.tops[scenario.make] ?? SparseBytes(), path: "top.qcow2")
    data = scenario.make == .dataFile ? MemoryStorage(images.data, path: "top.data") : nil
    middle = MemoryStorage(images.middle, path: "middle.qcow2", readOnly: true)
    base = MemoryStorage(images.base, path: "base.raw", readOnly: true)
  }

  private var place: MemoryStorage {
    switch scenario.place {
    case .top: top
    case .data: data ?? top
    case .middle: middle
    case .base: base
    }
  }

  /// Runs it all. Returns whether the plan made any call fail; where it has not, every call has had its turn.
  mutating func run(_ plan: FaultPlan) throws -> Bool {
    if scenario.faultsOpening { place.setFaults(plan) }
    do {
      chain = try Self.open(top, data, middle, base)
    } catch let error as ImageError {
      expectRight(ChainError(error), "opening")
      let failures = place.faults?.failures ?? 0
      // Another process, another try: what a sync failed to keep is nothing that this one was told of.
      isLost = false
      top = MemoryStorage(top.content, path: "top.qcow2")
      chain = try Self.open(top, data, middle, base)
      try begin()
      try finish(failed: scenario.steps)
      return failures > 0
    }
    let opening = place.faults
    place.setFaults(nil)
    try begin()
    for step in scenario.before { try perform(step) }
    place.setFaults(opening ?? plan)
    var failed: [FaultScenario.Step] = []
    for step in scenario.steps {
      do {
        try perform(step)
      } catch let error as ChainError {
        let faults = place.faults
        place.setFaults(nil)
        expectRight(error, "\(step)")
        try settle(step, error)
        failed.append(step)
        place.setFaults(faults)
      }
    }
    let hasFailed = place.faults?.failures ?? 0 > 0
    place.setFaults(nil)
    try finish(failed: failed)
    return hasFailed
  }

  private mutating func begin() throws {
    model = try contents(chain)
    versions = [model]
  }

  private static func open(
    _ top: MemoryStorage, _ data: MemoryStorage?, _ middle: MemoryStorage, _ base: MemoryStorage
  ) throws -> BackingChain {
    let image = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: top), storage: top, dataStorage: data,
      options: .init(budget: TableBudget(limit: 0)))
    var layers = [Layer(image: image, path: top.path, opened: top.status())]
    if image.backing?.name == Array("middle.qcow2".utf8) {
      let between = try Qcow2Image(
        header: Qcow2Header.read(from: middle), storage: middle, dataStorage: nil, budget: TableBudget(limit: 4096))
      layers.append(Layer(image: between, path: middle.path, opened: middle.status()))
    }
    if image.backing != nil { layers.append(Layer(image: try RawImage(base), path: base.path, opened: base.status())) }
    return BackingChain(layers: layers, active: image)
  }

  private mutating func perform(_ step: FaultScenario.Step) throws {
    guard let chain else { return }
    switch step {
    case .write(let range):
      try chain.write(DiskBytes.pattern(for: range).span, at: GuestOffset(range.lowerBound))
      become(after(step))
    case .zero(let range, let reserving):
      try chain.zero(GuestRange(at: GuestOffset(range.lowerBound), count: ByteCount(range.count)), reserving: reserving)
      become(after(step))
    case .populate(let keepingBase): try populate(above: keepingBase ? lowest : nil)
    case .read:
      if DiskBytes.firstStrangeSector(in: try contents(chain), allowed: [model]) != nil {
        complain("a read brought something else")
      }
    case .flush: try chain.flush()
    case .complete(let keepingBase):
      let base = keepingBase ? lowest : nil
      try populate(above: base)
      let name = base.map { RecordedBacking(name: Array($0.path.utf8), format: $0.image.format) }
      try chain.complete(recording: name, keeping: base)
      if try Qcow2Header.read(from: MemoryStorage(top.content)).backing != name { complain("it is not recorded") }
    }
  }

  /// The base, while there is one.
  private var lowest: Layer? { chain.flatMap { $0.snapshot.layers.count > 1 ? $0.snapshot.layers.last : nil } }

  private func populate(above base: Layer?) throws(ChainError) {
    var position = GuestOffset(0)
    while let range = try chain?.nextUnpopulated(from: position, above: base) {
      _ = try chain?.populate(range, above: base)
      position = range.end
    }
  }

  private func after(_ step: FaultScenario.Step) -> [UInt8] {
    var disk = model
    switch step {
    case .write(let range): disk.replaceSubrange(range, with: DiskBytes.pattern(for: range))
    case .zero(let range, _): disk.replaceSubrange(range, with: repeatElement(0, count: range.count))
    case .populate, .read, .flush, .complete: break
    }
    return disk
  }

  private mutating func become(_ disk: [UInt8]) {
    model = disk
    versions.append(disk)
  }

  /// After a step that failed: every sector is old or new, and a completion has left all as it was.
  private mutating func settle(_ step: FaultScenario.Step, _ error: ChainError) throws {
    if isLost && chain?.isDurabilityLost != true { complain("\(step) lost a sync, and nobody is told") }
    let (old, new, found) = (model, after(step), try contents(chain))
    if let sector = DiskBytes.firstStrangeSector(in: found, allowed: [old, new]) {
      complain("\(step) failed and left sector \(sector) neither old nor new")
    }
    become(found)
    guard case .complete = step else { return }
    if middle.isClosed || base.isClosed { complain("a completion failed, and a layer is closed") }
    if error.code != .outcomeUnknown,
      try Qcow2Header.read(from: MemoryStorage(top.content)).backing?.name
        != Array("middle.qcow2".utf8)
    {
      complain("a completion failed, and the old name is gone")
    }
  }

  /// The fault is gone: what failed is done now, all is made durable, and what is opened next is what was read.
  private mutating func finish(failed: [FaultScenario.Step]) throws {
    for step in failed {
      do {
        try perform(step)
      } catch let error as ChainError {
        let isSync =
          switch step {
          case .flush, .complete: true;
          default: false
          }
        if takesNoWrites && error.cause?.code == .refused { continue }
        if !(isLost && isSync) { complain("\(step) fails without a fault: \(error)") }
      }
    }
    if DiskBytes.firstStrangeSector(in: try contents(chain), allowed: [model]) != nil {
      complain("what is read is not what was written")
    }
    do {
      try chain?.flush()
      if isLost { complain("a sync succeeded after a lost one") }
    } catch {
      if !isLost { complain("a flush fails without a fault: \(error)") }
    }
    if isLost {
      if chain?.isDurabilityLost != true { complain("nobody is told of the lost sync") }
      if (try? chain?.complete(recording: nil, keeping: nil)) != nil { complain("a lost sync let a completion pass") }
    }
    do {
      try chain?.close()
    } catch {
      if !isLost { complain("closing fails: \(error)") }
    }
    try expectWhole()
  }

  /// Another process opens the image.
  private mutating func expectWhole() throws {
    let image = MemoryStorage(top.content, path: "top.qcow2")
    let report = try Qcow2Check.run(on: Qcow2Header.read(from: image), in: image)
    if report.errors > 0 || (report.leaks > 0 && !isLost) { complain("the check finds \(report.findings)") }
    let chain = try Self.open(
      image, data.map { MemoryStorage($0.content) }, MemoryStorage(images.middle, path: middle.path, readOnly: true),
      MemoryStorage(images.base, path: base.path, readOnly: true))
    let found = try contents(chain)
    try chain.close()
    if let sector = DiskBytes.firstStrangeSector(in: found, allowed: isLost ? versions : [model]) {
      complain("sector \(sector) begins \(found[(sector * 512)...].prefix(4)) when it is opened again")
    }
  }

  /// Whether an error says what happened.
  private mutating func expectRight(_ error: ChainError, _ what: String) {
    let errno = error.storage?.errno
    if error.code == .outcomeUnknown || error.storage?.code == .syncLost { isLost = true }
    if takesNoWrites && error.cause?.code == .refused { return }
    if action == .read && fault.fallsShort {
      if scenario.place == .top { takesNoWrites = true }
      if error.cause?.code != .corrupt { complain("\(what) fails with \(error) for a file that was cut") }
    } else if errno != fault.errno && !(isLost && errno == EIO) {
      complain("\(what) fails with \(error), and not with \(fault.errno)")
    }
  }

  private mutating func complain(_ what: String) { complaints.append(what) }

  private func contents(_ chain: BackingChain?) throws(ChainError) -> [UInt8] {
    guard let chain else { return [] }
    return try [UInt8](capacity: chain.virtualSize.bytes) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      _ = try chain.read(GuestRange(at: GuestOffset(0), count: chain.virtualSize), into: &output)
    }
  }
}
