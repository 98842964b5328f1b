import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import TestSupport
import Testing

@testable import DiskExport

@Suite(.timeLimit(.minutes(1))) struct ParkedWriteTests {
  private let answers = Monitor<[Result<Void, Errno>]>([])

  /// A disk of one hole whose host has no space.
  private func fullDisk(timeout: Duration) throws -> MemoryDisk {
    let disk = try MemoryDisk { $0.noSpaceTimeout = timeout }
    try disk.storage.punch(HostRange(0..<MemoryDisk.size))
    disk.storage.setCapacity(0)
    return disk
  }

  private func park(_ bytes: [UInt8], at offset: Int, on disk: MemoryDisk) {
    #expect(disk.file.writeBack(bytes.span, at: GuestOffset(offset)) == nil)
    disk.file.park(bytes.span, at: GuestOffset(offset)) { [answers] answer in answers.withLock { $0.append(answer) } }
  }

  private func firstAnswers(_ count: Int) -> [Result<Void, Errno>] {
    answers.wait { $0.count >= count ? $0 : nil }
  }

  @Test func theyAreWrittenWhenThereIsSpaceAgain() throws {
    let disk = try fullDisk(timeout: .seconds(60))
    park([1, 2], at: 4096, on: disk)
    park([3], at: 8192, on: disk)
    #expect(disk.file.parked.count == 2)
    #expect(answers.read { $0.isEmpty })
    disk.storage.setCapacity(nil)
    for answer in firstAnswers(2) { #expect(throws: Never.self) { try answer.get() } }
    #expect(try disk.read(4096..<4098) == [1, 2])
    #expect(try disk.read(8192..<8193) == [3])
    #expect(!disk.chain.isDurabilityLost)
    #expect(eventually { disk.file.parked.count == 0 ? true : nil } == true)
  }

  @Test func theOneLogLineSaysThatTheyWait() throws {
    let disk = try fullDisk(timeout: .seconds(60))
    for offset in 0..<5 { park([1], at: offset * 4096, on: disk) }
    disk.storage.setCapacity(nil)
    _ = firstAnswers(5)
    #expect(disk.log.read { $0.filter { $0.contains("no space") }.count } == 1)
  }

  @Test func whatWaitedInVainIsLost() throws {
    let disk = try fullDisk(timeout: .zero)
    park([1], at: 0, on: disk)
    #expect(throws: Errno(ENOSPC)) { try firstAnswers(1)[0].get() }
    #expect(disk.chain.isDurabilityLost)
    disk.storage.setCapacity(nil)
    #expect(throws: Errno(EIO)) { try disk.file.synchronize() }
  }

  @Test func anotherErrorEndsTheWaiting() throws {
    let disk = try fullDisk(timeout: .seconds(60))
    park([1], at: 0, on: disk)
    disk.storage.setFaults(FaultPlan([.write], nth: 1))
    disk.storage.setCapacity(nil)
    #expect(throws: Errno(EIO)) { try firstAnswers(1)[0].get() }
    #expect(disk.chain.isDurabilityLost)
  }

  @Test func whatIsParkedAfterTheyWereAllWrittenWaitsToo() throws {
    let disk = try fullDisk(timeout: .seconds(60))
    for round in 1...2 {
      disk.storage.setCapacity(0)
      park([9], at: round * 4096, on: disk)
      disk.storage.setCapacity(nil)
      #expect(firstAnswers(round).count == round)
      #expect(try disk.read(round * 4096..<round * 4096 + 1) == [9])
    }
  }
}
