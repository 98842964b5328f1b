import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import StreamJob
import Synchronization
import TestSupport

/// A guest's threads, one that flushes, one that reads what nobody writes, and a job that is driven about, all at once on one
/// disk, while the layers below the top are let go one after the other.
final class ConcurrencyProgram: Sendable {
  private static let arena = 640..<768
  private static let untouched = 768..<SharedDisk.sectors

  private let disk: SharedDisk
  private let seed: UInt64
  private let job: StreamJob
  private let initial: [UInt8]
  private let isOver = Atomic<Bool>(false)
  private let requests = Atomic<Int>(0)

  init(_ shape: SharedDisk.Shape, seed: UInt64) throws {
    self.seed = seed
    disk = try SharedDisk(shape, seed: seed)
    initial = try disk.chain.contents()
    var options = StreamOptions()
    options.start = .off
    options.minimumFree = .bytes(0)
    job = StreamJob(disk.chain, options: options)
  }

  /// Runs it. Returns how many requests the guest made, and what went wrong.
  func run() throws -> (requests: Int, complaints: [String]) {
    let arena = SharedSectors(Self.arena, of: initial)
    let threads =
      (0..<Owner.count).map { number in
        Waiter { [self] in
          own(Owner(number: number, chain: disk.chain, arena: arena, initial: initial, seed: seed))
        }
      } + [Waiter { [self] in flush() }, Waiter { [self] in watch() }]
      + (1...3).map { number in Waiter { [self] in look(at: arena, number: number) } }
    var driver = JobDriver(job, disk.chain, seed: seed)
    var complaints = driver.run()
    isOver.store(true, ordering: .relaxed)
    for thread in threads { complaints += thread.result() }
    if !job.shutDown(patience: .seconds(30)) { complaints.append("a worker of the job does not end") }
    let last = try disk.chain.contents()
    try disk.chain.close()
    let (chain, check) = try disk.reopened()
    if try chain.contents() != last { complaints.append("the disk is another when it is opened again") }
    if !check.isClean { complaints.append("the check finds \(check.findings)") }
    try chain.close()
    return (requests.load(ordering: .relaxed), complaints)
  }

  private func own(_ owner: Owner) -> [String] {
    var owner = owner
    while !isOver.load(ordering: .relaxed) && owner.complaints.isEmpty {
      owner.step()
      requests.add(1, ordering: .relaxed)
    }
    return owner.complaintsAtTheEnd()
  }

  private func flush() -> [String] {
    var random = SeededRandom(seed: seed &+ 99)
    while !isOver.load(ordering: .relaxed) {
      do {
        try disk.chain.flush()
      } catch {
        return ["a flush failed: \(error)"]
      }
      HostThread.sleep(.microseconds(Int.random(in: 1...300, using: &random)))
    }
    return []
  }

  /// Reads where others write.
  private func look(at arena: SharedSectors, number: Int) -> [String] {
    var random = SeededRandom(seed: seed &+ UInt64(number) &* 31)
    while !isOver.load(ordering: .relaxed) {
      let first = Int.random(in: Self.arena.lowerBound...(Self.arena.upperBound - 16), using: &random)
      let sectors = first..<first + Int.random(in: 1...16, using: &random)
      let range = GuestRange(at: GuestOffset(sectors.lowerBound * 512), count: ByteCount(sectors.count * 512))
      do {
        if let strange = try arena.read(sectors, { try disk.chain.bytes(in: range) }) { return [strange] }
      } catch {
        return ["a read failed: \(error)"]
      }
      requests.add(1, ordering: .relaxed)
    }
    return []
  }

  private func watch() -> [String] {
    var random = SeededRandom(seed: seed &+ 5)
    let start = Self.untouched.lowerBound * 512
    while !isOver.load(ordering: .relaxed) {
      let part = random.range(below: SharedDisk.size - start, longest: 40_000)
      let bytes = start + part.lowerBound..<start + part.upperBound
      let expected = Array(initial[bytes])
      do {
        let found = try disk.chain.bytes(
          in: GuestRange(at: GuestOffset(bytes.lowerBound), count: ByteCount(bytes.count)))
        if found != expected { return ["what nobody wrote reads as something else"] }
      } catch {
        return ["a read failed: \(error)"]
      }
    }
    return []
  }
}
