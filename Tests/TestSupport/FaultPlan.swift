import Glibc

/// Which calls of a `MemoryStorage` fail, and with what. A call that fails has changed nothing, unless it falls short.
package struct FaultPlan: Sendable {
  /// What a failing call comes to.
  package struct Fault: Hashable, Sendable {
    package var errno: Int32
    /// Half of it is done, up to a sector's end: a read brings the first half and no error, as from a file that was cut; a
    /// change fails after its first half.
    package var fallsShort = false
    /// A change is done, and fails nevertheless.
    package var isDone = false

    package init(errno: Int32, fallsShort: Bool = false, isDone: Bool = false) {
      self.errno = errno
      self.fallsShort = fallsShort
      self.isDone = isDone
    }
  }

  private enum Trigger {
    case nth(Int, forEver: Bool)
    case oneIn(Int, SeededRandom)
  }

  private let actions: Set<StorageAction>
  private let fault: Fault
  private var trigger: Trigger
  private var seen = 0
  /// How many calls have failed.
  package private(set) var failures = 0

  /// Fails the `nth` call (counted from 1, from when the plan is set) of any of `actions`, and with `forEver` all later
  /// ones too.
  package init(_ actions: Set<StorageAction>, nth: Int, fault: Fault, forEver: Bool = false) {
    self.actions = actions
    self.fault = fault
    trigger = .nth(nth, forEver: forEver)
  }

  package init(_ actions: Set<StorageAction>, nth: Int, errno: Int32 = EIO, forEver: Bool = false) {
    self.init(actions, nth: nth, fault: Fault(errno: errno), forEver: forEver)
  }

  /// Fails one call in `count` at random.
  package init(_ actions: Set<StorageAction>, oneIn count: Int, seed: UInt64, errno: Int32 = EIO) {
    self.actions = actions
    fault = Fault(errno: errno)
    trigger = .oneIn(count, SeededRandom(seed: seed))
  }

  /// What this call comes to, nil where it goes through.
  mutating func fault(of action: StorageAction) -> Fault? {
    guard actions.contains(action) else { return nil }
    seen += 1
    let fails: Bool
    switch trigger {
    case .nth(let nth, let forEver):
      fails = seen == nth || (forEver && seen > nth)
    case .oneIn(let count, var random):
      fails = random.oneIn(count)
      trigger = .oneIn(count, random)
    }
    if fails { failures += 1 }
    return fails ? fault : nil
  }
}

extension Set<StorageAction> {
  /// Everything that changes the storage or makes a change durable.
  package static var changes: Self { [.write, .zero, .punch, .reserve, .resize, .clone, .sync] }
}
