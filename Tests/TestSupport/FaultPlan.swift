import Glibc

/// Which calls of a `MemoryStorage` fail, and with what. A call that fails has changed nothing.
package struct FaultPlan: Sendable {
  private enum Trigger {
    case nth(Int, forEver: Bool)
    case oneIn(Int, SeededRandom)
  }

  private let actions: Set<StorageAction>
  private let errno: Int32
  private var trigger: Trigger
  private var seen = 0

  /// Fails the `nth` call (counted from 1, from when the plan is set) of any of `actions`, and with `forEver` all later
  /// ones too.
  package init(_ actions: Set<StorageAction>, nth: Int, errno: Int32 = EIO, forEver: Bool = false) {
    self.actions = actions
    self.errno = errno
    trigger = .nth(nth, forEver: forEver)
  }

  /// Fails one call in `count` at random.
  package init(_ actions: Set<StorageAction>, oneIn count: Int, seed: UInt64, errno: Int32 = EIO) {
    self.actions = actions
    self.errno = errno
    trigger = .oneIn(count, SeededRandom(seed: seed))
  }

  /// The errno of this call, nil where it goes through.
  mutating func failure(of action: StorageAction) -> Int32? {
    guard actions.contains(action) else { return nil }
    seen += 1
    switch trigger {
    case .nth(let nth, let forEver):
      return seen == nth || (forEver && seen > nth) ? errno : nil
    case .oneIn(let count, var random):
      let fails = random.oneIn(count)
      trigger = .oneIn(count, random)
      return fails ? errno : nil
    }
  }
}

extension Set<StorageAction> {
  /// Everything that changes the storage or makes a change durable.
  package static var changes: Self { [.write, .zero, .punch, .reserve, .resize, .copy, .sync] }
}
