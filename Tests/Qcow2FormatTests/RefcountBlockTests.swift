import HostStorage
import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct RefcountBlockTests {
  @Test(arguments: 0...6)
  func everyWidthKeepsItsCountsApart(_ order: Int) {
    let count = (512 * 8) >> order
    let largest = RefcountBlock.largest(order: order)
    var block = RefcountBlock(bytes: [UInt8](repeating: 0, count: 512), order: order, home: HostOffset(0))
    var reference = [UInt64](repeating: 0, count: count)
    var random = SeededRandom(seed: UInt64(order))
    for _ in 0..<2000 {
      let index = Int.random(in: 0..<count, using: &random)
      let value = UInt64.random(in: 0...largest, using: &random)
      block[index] = value
      reference[index] = value
      #expect(block[index] == value)
    }
    #expect((0..<count).allSatisfy { block[$0] == reference[$0] })
  }

  @Test func countsNarrowerThanAByteFillItFromItsLeastSignificantBit() {
    var block = RefcountBlock(bytes: [0, 0], order: 1, home: HostOffset(0))
    block[0] = 1
    block[3] = 2
    #expect(block.bytes == [0b1000_0001, 0])
  }
}
