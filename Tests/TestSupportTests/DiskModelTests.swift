import TestSupport
import Testing

@Suite struct DiskModelTests {
  @Test func theActiveLayerHidesWhatIsBelow() {
    var disk = DiskModel([.init(size: 4), .init([1, 2, 3, 4])])
    disk.write([9], at: 1)
    disk.zero(2..<3)
    #expect(disk.bytes == [1, 9, 0, 4])
  }

  @Test func pastTheEndOfAShortBackingImageAreZeros() {
    let disk = DiskModel([.init(size: 6), .init(size: 2), .init([1, 2, 3, 4, 5, 6])])
    #expect(disk.bytes == [1, 2, 0, 0, 0, 0])
  }

  @Test func aLongerBackingImageIsCutOff() {
    #expect(DiskModel([.init(size: 2), .init([1, 2, 3])]).bytes == [1, 2])
  }

  @Test(arguments: 0..<50 as Range<UInt64>) func completionChangesNoRead(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let layers = (0..<5).map { _ in
      var layer = DiskModel.Layer(size: Int.random(in: 1...64, using: &random))
      for offset in layer.bytes.indices where Bool.random(using: &random) { layer.bytes[offset] = UInt8(offset + 1) }
      return layer
    }
    for base in 1...5 {
      var disk = DiskModel(layers)
      let before = disk.bytes
      disk.populate(0..<(disk.size / 2), base: base)
      #expect(disk.bytes == before, "seed \(seed), base \(base)")
      disk.complete(base: base)
      #expect(disk.bytes == before, "seed \(seed), base \(base)")
      #expect(disk.layers.count == 6 - base)
    }
  }
}
