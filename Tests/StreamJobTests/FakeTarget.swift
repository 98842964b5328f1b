import BackingChain
import HostStorage
import ImageFormat
import StreamJob

/// A chain in memory, of units of 64 KiB, that fails and hangs on request and writes down what was asked of it.
final class FakeTarget: StreamTarget {
  static let unit: ByteCount = 65536
  /// The size of the file system below.
  static let total: ByteCount = 1_000_000_000

  /// A place where callers can be made to wait.
  enum Gate: Hashable { case measuring, scanning, populating, planning, preparing, completing }

  struct Disk {
    /// For each unit that is not in the top: which layer below it holds it (0: the nearest).
    var held: [Int: Int]
    var closed: Set<Gate> = []
    /// How many callers wait at a gate, or have passed it.
    var arrived: [Gate: Int] = [:]
    /// Thrown by the next calls, in order.
    var failures: [Gate: [ChainError]] = [:]
    /// Thrown whenever this unit is populated.
    var badUnits: [Int: ChainError] = [:]
    var refusal: ChainError?
    var free = FakeTarget.total
    var populated: [GuestRange] = []
    var completed: [CompletionPlan] = []
    /// What must never happen.
    var violations: [String] = []
    /// Units being populated: one caller each, as the chain's range locks see to.
    var busy: Set<Int> = []
  }

  let units: Int
  let isWritable: Bool
  let layers: [Layer]
  let disk: Monitor<Disk>

  /// All `units` are held by the nearest layer, unless `held` says otherwise.
  init(units: Int = 4, held: [Int: Int]? = nil, layers: Int = 2, isWritable: Bool = true) {
    self.units = units
    self.isWritable = isWritable
    self.layers = (0..<layers).map { index in
      Layer(image: NamedImage(), path: "/images/\(index)", opened: .unknown)
    }
    disk = Monitor(Disk(held: held ?? Dictionary(uniqueKeysWithValues: (0..<units).map { ($0, 0) })))
  }

  var virtualSize: ByteCount { Self.unit * units }

  private func level(of base: Layer?) -> Int { layers.firstIndex { $0 === base } ?? layers.count }

  func hasLayers(above base: Layer?) -> Bool { level(of: base) > 0 }

  func layer(named name: [UInt8]) throws(ChainError) -> Layer {
    for layer in layers where Array(layer.path.utf8) == name { return layer }
    throw ChainError(.notInChain, path: "top", message: "no such layer")
  }

  func nextUnpopulated(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> GuestRange? {
    try pass(.scanning)
    let level = level(of: base)
    let held = disk.read { disk in disk.held }
    let first = (offset.bytes / Self.unit.bytes..<units).first { held[$0].map { $0 < level } ?? false }
    guard let first else { return nil }
    let count = (first..<units).prefix { held[$0].map { $0 < level } ?? false }.count
    return GuestRange(at: GuestOffset(first * Self.unit.bytes), count: Self.unit * count)
  }

  func populate(_ range: GuestRange, above base: Layer?) throws(ChainError) -> ByteCount {
    let level = level(of: base)
    let units = units(of: range)
    disk.wait { disk -> Void? in
      guard disk.busy.isDisjoint(with: units) else { return nil }
      disk.busy.formUnion(units)
      return ()
    }
    defer { disk.withLock { $0.busy.subtract(units) } }
    try pass(.populating)
    let result = disk.withLock { disk -> Result<ByteCount, ChainError> in
      var copied: ByteCount = 0
      disk.populated.append(range)
      for unit in units where disk.held[unit].map({ $0 < level }) ?? false {
        if let error = disk.badUnits[unit] { return .failure(error) }
        disk.held[unit] = nil
        copied += Self.unit
      }
      return .success(copied)
    }
    return try result.get()
  }

  func remaining(above base: Layer?) throws(ChainError) -> ByteCount {
    try pass(.measuring)
    let level = level(of: base)
    return Self.unit * disk.read { disk in disk.held.count { $0.value < level } }
  }

  func space() -> (free: ByteCount, total: ByteCount) { (disk.read { $0.free }, Self.total) }

  func checkCompletable() throws(ChainError) {
    if !isWritable { throw ChainError(.readOnly, path: "top", message: "read-only") }
    if let refusal = disk.read({ $0.refusal }) { throw refusal }
  }

  func plan(_ name: [UInt8], keeping base: Layer?) throws(ChainError) -> CompletionPlan {
    try pass(.planning)
    try checkCompletable()
    if name.isEmpty, base == nil { return CompletionPlan(base: nil, backing: nil) }
    let kept = if let base { base } else { try layer(named: name) }
    let recorded = name.isEmpty ? Array(kept.path.utf8) : name
    return CompletionPlan(base: kept, backing: RecordedBacking(name: recorded, format: "raw"))
  }

  func prepareCompletion(_ plan: CompletionPlan) throws(ChainError) { try pass(.preparing) }

  func complete(_ plan: CompletionPlan) throws(ChainError) {
    let level = level(of: plan.base)
    disk.withLock { disk in
      if !disk.busy.isEmpty { disk.violations.append("completed while populating") }
      let left = disk.held.filter { $0.value < level }
      if !left.isEmpty { disk.violations.append("completed without \(left.keys.sorted())") }
    }
    try pass(.completing)
    disk.withLock { $0.completed.append(plan) }
  }

  private func units(of range: GuestRange) -> Range<Int> {
    let whole = range.roundedOut(to: Self.unit)
    return whole.start.bytes / Self.unit.bytes..<min(units, whole.end.bytes / Self.unit.bytes)
  }

  // MARK: The script

  private func pass(_ gate: Gate) throws(ChainError) {
    disk.withLock { $0.arrived[gate, default: 0] += 1 }
    let error = disk.wait { disk -> ChainError?? in
      guard !disk.closed.contains(gate) else { return nil }
      guard let error = disk.failures[gate]?.first else { return .some(nil) }
      disk.failures[gate]?.removeFirst()
      return error
    }
    if let error { throw error }
  }

  func close(_ gate: Gate) { disk.withLock { _ = $0.closed.insert(gate) } }
  func open(_ gate: Gate) { disk.withLock { _ = $0.closed.remove(gate) } }
  func openAllGates() { disk.withLock { $0.closed = [] } }
  func awaitArrival(at gate: Gate, count: Int = 1) {
    disk.wait { $0.arrived[gate, default: 0] >= count ? () : nil }
  }
}

extension ChainError {
  static let unreadable = ChainError(.storage, path: "/images/0", message: "cannot read /images/0: input/output error")
  static let full = ChainError(.noSpace, path: "top", message: "no space left for top")
  static let changed = ChainError(.changed, path: "/images/1", message: "/images/1 was changed")
}

extension StorageStatus {
  static let unknown = StorageStatus(
    identity: StorageIdentity(device: 0, inode: 0), size: 0, allocated: 0, modified: 0, links: 1, isBlockDevice: false)
}
