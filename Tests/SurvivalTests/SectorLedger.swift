import Foundation
import Glibc
import Synchronization
import TestSupport

/// What every sector of a disk may hold after a crash; kept outside the disk.
///
/// All 64 words of a sector are its stamp: the sector's number, and the number of the write. A sector of zeros has stamp 0. So
/// a torn sector, and one that shows another's bytes, give themselves away.
final class SectorLedger: Sendable {
  static let sectorSize = 512
  let sectors: Int
  /// The next write's number.
  private let version = Atomic<UInt64>(1)
  private let state: Mutex<State>

  private struct State {
    /// Per sector the stamp that a sync has returned for.
    var synced: [UInt64]
    /// Per writer and sector, what was written since, in order.
    var pending: [[Int: [UInt64]]]
  }

  /// A disk of zeros.
  init(size: Int, writers: Int) {
    sectors = size / Self.sectorSize
    state = Mutex(State(synced: Array(repeating: 0, count: sectors), pending: Array(repeating: [:], count: writers)))
  }

  /// The bytes of a new write to `range`, which is noted; zeros, for an fallocate(2), if they are asked for.
  func willWrite(_ range: Range<Int>, by writer: Int, zeros: Bool = false) -> [UInt8] {
    let version = zeros ? 0 : version.add(1, ordering: .relaxed).newValue << 24
    let stamps = range.map { zeros ? 0 : version | UInt64($0) }
    state.withLock { state in
      for (sector, stamp) in zip(range, stamps) { state.pending[writer][sector, default: []].append(stamp) }
    }
    return Self.bytes(of: stamps)
  }

  /// The disk has zeros there, durably.
  func zero(_ range: Range<Int>) {
    _ = willWrite(range, by: 0, zeros: true)
    didSync(0)
  }

  /// A sync has returned that covers all that `writer` had written; to these sectors nobody else writes meanwhile.
  func didSync(_ writer: Int) {
    state.withLock { state in
      for (sector, stamps) in state.pending[writer] {
        state.synced[sector] = stamps.last ?? 0
        for other in state.pending.indices { state.pending[other][sector] = nil }
      }
    }
  }

  /// The bytes of the disk, when nothing is pending.
  var bytes: Data { Data(Self.bytes(of: state.withLock { $0.synced })) }

  private static func bytes(of stamps: [UInt64]) -> [UInt8] {
    var words: [UInt64] = []
    for stamp in stamps { words += [UInt64](repeating: stamp, count: 64) }
    return unsafe words.withUnsafeBytes { unsafe Array($0) }
  }

  /// Compares the disk after a crash with what it may hold, and goes on from what was found. Says what is wrong.
  func settle(_ path: String) throws -> [String] {
    let file = try HostFile(path, O_RDONLY)
    var found: [UInt64] = []
    var wrong: [String] = []
    while found.count < sectors {
      let bytes = try file.read(1 << 20, at: found.count * Self.sectorSize)
      guard !bytes.isEmpty else { return wrong + ["the disk ends at sector \(found.count)"] }
      unsafe bytes.withUnsafeBytes { bytes in
        for start in stride(from: 0, to: bytes.count, by: Self.sectorSize) {
          let sector = unsafe bytes.baseAddress.unsafelyUnwrapped + start
          if unsafe memcmp(sector, sector + 8, Self.sectorSize - 8) != 0 { wrong.append("\(found.count) is torn") }
          unsafe found.append(sector.load(as: UInt64.self))
        }
      }
    }
    return state.withLock { state in
      for (sector, stamp) in found.enumerated() where stamp != state.synced[sector] {
        let pending = state.pending.flatMap { $0[sector] ?? [] }
        if pending.contains(stamp) { continue }
        wrong.append(
          "\(sector) has write \(stamp >> 24) of sector \(stamp & 0xFF_FFFF); "
            + "synced \(state.synced[sector] >> 24), then \(pending.map { $0 >> 24 })")
      }
      state.synced = found
      for writer in state.pending.indices { state.pending[writer] = [:] }
      return Array(wrong.prefix(10))
    }
  }
}
