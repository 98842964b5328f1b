import Synchronization

/// The way into a layer below the active one, for whoever looks something up in it or reads it: a completion closes the layer
/// when everybody has left.
///
/// Invariant: from `shut` on nobody comes in; and once it is empty after that, nobody is in it ever again. Whoever comes is
/// counted first, and looks then whether it is shut: either that look finds it shut, or the count was there before.
final class LayerDoor: Sendable {
  /// How many are inside, and `isShut`.
  private let state = Atomic<Int>(0)
  private static let isShut = 1 << 62

  /// Comes in; false, without effect, where it is shut. To be followed by `leave`.
  func enter() -> Bool {
    if state.add(1, ordering: .sequentiallyConsistent).oldValue & Self.isShut == 0 { return true }
    leave()
    return false
  }

  func leave() { state.subtract(1, ordering: .sequentiallyConsistent) }

  /// Lets nobody in any more.
  func shut() { state.bitwiseOr(Self.isShut, ordering: .sequentiallyConsistent) }

  /// Whether nobody is inside.
  var isEmpty: Bool { state.load(ordering: .sequentiallyConsistent) & ~Self.isShut == 0 }
}
