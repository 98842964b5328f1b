import ImageFormat
import Synchronization

/// What the sectors of a range may hold that several threads write at once: everything that was written last in some order
/// in which all requests can have been served one after the other.
///
/// A value is possible unless another write began after it had ended, and ended itself before the read began.
package final class SharedSectors: Sendable {
  private struct Write {
    let value: UInt64
    let began: Int
    var ended = Int.max
  }

  private struct State {
    var clock = 1
    var sectors: [[Write]]
    /// When each read that is under way began.
    var reads: Set<Int> = []

    mutating func tick() -> Int {
      clock += 1
      return clock
    }
  }

  package let sectors: Range<Int>
  private let state: Mutex<State>

  /// Each sector of `disk` is filled with one word.
  package init(_ sectors: Range<Int>, of disk: [UInt8]) {
    self.sectors = sectors
    let words = BigEndian.words(in: disk.span)
    let initial = sectors.map { words[$0 * 64] }
    state = Mutex(State(sectors: initial.map { [Write(value: $0, began: 0, ended: 0)] }))
  }

  /// Runs `body`, which writes these bytes, or zeros, to these sectors. They tell the sector, the writer and the write.
  package func write(_ range: Range<Int>, isZero: Bool, tag: Int, _ body: ([UInt8]) throws -> Void) rethrows {
    let (began, values) = state.withLock { state in
      let began = state.tick()
      let values = range.map { isZero ? 0 : UInt64(tag) << 56 | UInt64($0) << 32 | UInt64(began) }
      for (sector, value) in zip(range, values) {
        state.sectors[sector - sectors.lowerBound].append(Write(value: value, began: began))
      }
      return (began, values)
    }
    let words = values.flatMap { [UInt64](repeating: $0, count: 64) }
    try body(BigEndian.bytes(of: words[...]))
    state.withLock { state in
      let now = state.tick()
      let horizon = state.reads.min() ?? now
      for sector in range {
        let index = sector - sectors.lowerBound
        if let own = state.sectors[index].firstIndex(where: { $0.began == began }) {
          state.sectors[index][own].ended = now
        }
        state.sectors[index] = Self.possible(in: state.sectors[index], whenReadFrom: horizon)
      }
    }
  }

  /// Runs `body`, which reads these sectors. Returns what is wrong with them.
  package func read(_ range: Range<Int>, _ body: () throws -> [UInt8]) rethrows -> String? {
    let began = state.withLock { state in
      let now = state.tick()
      state.reads.insert(now)
      return now
    }
    defer { state.withLock { _ = $0.reads.remove(began) } }
    let bytes = try body()
    let words = BigEndian.words(in: bytes.span)
    return state.withLock { state in
      for (position, sector) in range.enumerated() {
        let possible = Self.possible(in: state.sectors[sector - sectors.lowerBound], whenReadFrom: began)
        for strange in words[(position * 64)..<(position * 64 + 64)] {
          if possible.contains(where: { $0.value == strange }) { continue }
          let values = possible.map { String($0.value, radix: 16) }
          return "sector \(sector) holds \(String(strange, radix: 16)); possible are \(values)"
        }
      }
      return nil
    }
  }

  private static func possible(in writes: [Write], whenReadFrom began: Int) -> [Write] {
    writes.filter { write in !writes.contains { $0.began > write.ended && $0.ended < began } }
  }
}
