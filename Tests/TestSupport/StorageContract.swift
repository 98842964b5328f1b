package import HostStorage
import Testing

/// What every storage keeps, a clause a test: each is run on an empty, writable storage of its own.
package struct StorageClause: Sendable, CustomTestStringConvertible {
  package let testDescription: String
  package let check: @Sendable (any Storage) throws -> Void

  private init(_ description: String, _ check: @escaping @Sendable (any Storage) throws -> Void) {
    testDescription = description
    self.check = check
  }

  package static let all = reading + writing + zeroing + sizing + cutting

  private static let reading = [
    Self("what was written is read") { storage in
      try storage.write([1, 2, 3, 4], at: 100)
      #expect(try storage.bytes(at: 101, count: 2) == [2, 3])
    },
    Self("a read stops where the file ends") { storage in
      try storage.write([1, 2, 3], at: 0)
      #expect(try storage.bytes(at: 1, count: 100) == [2, 3])
      #expect(try storage.bytes(at: 3, count: 100) == [])
      #expect(try storage.bytes(at: 100, count: 100) == [])
    },
    Self("a read appends to what the output holds") { storage in
      try storage.write([7, 8], at: 0)
      let bytes = try [UInt8](capacity: 3) { output in
        output.append(6)
        try storage.read(2, at: HostOffset(0), into: &output)
      }
      #expect(bytes == [6, 7, 8])
    },
    Self("a megabyte goes through in one call") { storage in
      var random = SeededRandom(seed: 1)
      let bytes = random.bytes(count: 1 << 20)
      try storage.write(bytes, at: 513)
      #expect(try storage.bytes(at: 513, count: bytes.count) == bytes)
    },
  ]

  private static let writing = [
    Self("a write past the end grows the file, and the gap is zeros") { storage in
      try storage.write([1], at: 0)
      try storage.write([9], at: 10_000)
      #expect(try storage.size() == 10_001)
      #expect(try storage.bytes(at: 1, count: 10_000) == [UInt8](repeating: 0, count: 9999) + [9])
    },
    Self("an empty write changes nothing") { storage in
      try storage.write([], at: 5000)
      #expect(try storage.size() == 0)
    },
    Self("a clone brings the bytes or says that it cannot") { storage in
      try storage.write([UInt8](repeating: 5, count: 8192), at: 0)
      let isCloned = try storage.clone(4096, from: storage, at: HostOffset(0), to: HostOffset(16384))
      let bytes = try storage.bytes(at: 16384, count: 4096)
      #expect(bytes == [UInt8](repeating: 5, count: isCloned ? 4096 : 0))
    },
    Self("writes at once on different ranges all arrive") { storage in
      let threads = try (0..<4).map { place in
        try HostThread.start(name: "writer \(place)") {
          for round in 0..<50 { try? storage.write([UInt8(place + 1)], at: round * 4 + place) }
        }
      }
      for thread in threads { thread.join() }
      #expect(try storage.bytes(count: 200) == (0..<50).flatMap { _ in [1, 2, 3, 4] as [UInt8] })
    },
    Self("sync succeeds, and again") { storage in
      try storage.write([1], at: 0)
      try storage.sync()
      try storage.sync()
    },
  ]

  private static let zeroing = [
    Self("zero changes its range and nothing beside it") { storage in
      try storage.write([UInt8](repeating: 5, count: 12_000), at: 0)
      try storage.zero(HostRange(1000..<9000))
      let expected = [UInt8](repeating: 5, count: 1000) + [UInt8](repeating: 0, count: 8000)
      #expect(try storage.bytes(count: 12_000) == expected + [UInt8](repeating: 5, count: 3000))
    },
    Self("zero past the end grows the file") { storage in
      try storage.write([5], at: 0)
      try storage.zero(HostRange(100..<9000))
      #expect(try storage.size() == 9000)
    },
    Self("punch changes its range, and never the size") { storage in
      try storage.write([UInt8](repeating: 5, count: 12_000), at: 0)
      try storage.punch(HostRange(4096..<20_000))
      #expect(try storage.size() == 12_000)
      let expected = [UInt8](repeating: 5, count: 4096) + [UInt8](repeating: 0, count: 12_000 - 4096)
      #expect(try storage.bytes(count: 20_000) == expected)
    },
    Self("punch gives space back") { storage in
      try storage.write([UInt8](repeating: 5, count: 1 << 20), at: 0)
      try storage.sync()
      let before = try storage.status().allocated
      try storage.punch(HostRange(0..<(1 << 19)))
      #expect(try storage.status().allocated < before)
    },
    Self("empty ranges change nothing") { storage in
      for range in [HostRange(0..<0), HostRange(9000..<9000)] {
        try storage.zero(range)
        try storage.punch(range)
        try storage.reserve(range)
      }
      #expect(try storage.size() == 0)
    },
    Self("extents never call data a hole, and cover the file") { storage in
      try storage.write([UInt8](repeating: 5, count: 65536), at: 65536)
      try storage.write([5], at: 400_000)
      try storage.sync()
      var offset = 0
      while offset < 400_001 {
        let extent = try storage.extent(at: HostOffset(offset), limit: ByteCount(400_001 - offset))
        #expect(extent.count > 0 && extent.count.bytes <= 400_001 - offset)
        if extent.isHole {
          let bytes = try storage.bytes(at: offset, count: extent.count.bytes)
          #expect(bytes.allSatisfy { $0 == 0 })
        }
        offset += extent.count.bytes
      }
    },
    Self("past the end is no hole, however long") { storage in
      try storage.write([5], at: 0)
      for offset in [1, 70_000] {
        let extent = try storage.extent(at: HostOffset(offset), limit: 123_456)
        #expect(extent == StorageExtent(.pastEnd, count: 123_456))
      }
    },
    Self("a hole ends where the file does") { storage in
      try storage.resize(to: 100_000)
      let extent = try storage.extent(at: HostOffset(90_000), limit: 123_456)
      #expect(!extent.isHole || extent.count == 10_000)
      #expect(extent.count <= 10_000)
    },
    Self("what was cut off is past the end") { storage in
      try storage.write([UInt8](repeating: 5, count: 100_000), at: 0)
      try storage.resize(to: 5000)
      #expect(try storage.extent(at: HostOffset(4999), limit: 90_000).count == 1)
      #expect(try storage.extent(at: HostOffset(5000), limit: 90_000) == StorageExtent(.pastEnd, count: 90_000))
    },
    Self("a clone past the end of its source brings nothing") { storage in
      try storage.write([UInt8](repeating: 5, count: 12_288), at: 0)
      try storage.resize(to: 6000)
      let isCloned = try storage.clone(8192, from: storage, at: HostOffset(4096), to: HostOffset(16384))
      #expect(!isCloned)
      #expect(try storage.size() == 6000)
    },
  ]

  private static let sizing = [
    Self("reserve keeps the contents and grows the file with zeros") { storage in
      try storage.write([1, 2, 3], at: 0)
      try storage.reserve(HostRange(0..<9000))
      #expect(try storage.size() == 9000)
      #expect(try storage.bytes(count: 9000) == [1, 2, 3] + [UInt8](repeating: 0, count: 8997))
    },
    Self("reserve takes host space") { storage in
      try storage.reserve(HostRange(0..<(1 << 20)))
      #expect(try storage.status().allocated >= ByteCount(1 << 20))
    },
    Self("what is cut off comes back as zeros") { storage in
      try storage.write([UInt8](repeating: 5, count: 10_000), at: 0)
      try storage.resize(to: 5000)
      try storage.resize(to: 10_000)
      let expected = [UInt8](repeating: 5, count: 5000) + [UInt8](repeating: 0, count: 5000)
      #expect(try storage.bytes(count: 10_000) == expected)
    },
    Self("there is not more free space than there is") { storage in
      let space = try storage.space()
      #expect(space.free <= space.total && space.total > 0)
    },
  ]

  /// Somebody else cuts the file off, or lets it grow.
  private static func resize(_ storage: any Storage, to size: Int) throws {
    if let memory = storage as? MemoryStorage {
      memory.cut(to: size)
    } else {
      try FileStorage.open(storage.path, readOnly: false).resize(to: ByteCount(size))
    }
  }

  private static func expectCut(_ what: String, _ body: () throws -> Void) {
    do {
      try body()
      Issue.record("\(what): no error")
    } catch {
      #expect((error as? StorageError)?.code == .cut, "\(what): \(error)")
    }
  }

  private static let cutting = [
    Self("a file that somebody else has cut takes no change any more") { storage in
      try storage.write([UInt8](repeating: 5, count: 10_000), at: 0)
      try resize(storage, to: 5000)
      expectCut("write before the cut") { try storage.write([1], at: 0) }
      expectCut("write behind it") { try storage.write([1], at: 20_000) }
      expectCut("zero") { try storage.zero(HostRange(0..<4096)) }
      expectCut("punch") { try storage.punch(HostRange(0..<4096)) }
      expectCut("reserve") { try storage.reserve(HostRange(0..<20_000)) }
      expectCut("clone") { _ = try storage.clone(4096, from: storage, at: HostOffset(0), to: HostOffset(8192)) }
      expectCut("sync") { try storage.sync() }
      #expect(try storage.size() == 5000)
      #expect(try storage.bytes(at: 4000, count: 1000) == [UInt8](repeating: 5, count: 1000))
    },
    Self("what was cut off is lost for good, by whatever call that is seen") { storage in
      try storage.write([UInt8](repeating: 5, count: 10_000), at: 0)
      try resize(storage, to: 5000)
      // A read that meets the end; before it is over it may bring what there is.
      _ = try? storage.bytes(at: 4000, count: 3000)
      try resize(storage, to: 10_000)
      expectCut("read behind the cut") { _ = try storage.bytes(at: 6000, count: 10) }
      expectCut("read across it") { _ = try storage.bytes(at: 4990, count: 20) }
      #expect(try storage.extent(at: HostOffset(6000), limit: 100) == StorageExtent(.pastEnd, count: 100))
      #expect(try storage.extent(at: HostOffset(4990), limit: 100) == StorageExtent(.data, count: 10))
      expectCut("write") { try storage.write([1], at: 0) }
      #expect(try storage.bytes(at: 0, count: 5000) == [UInt8](repeating: 5, count: 5000))
    },
    Self("a file that somebody else lets grow, and one that is cut to what it was, are used as before") { storage in
      try storage.write([UInt8](repeating: 5, count: 5000), at: 0)
      try resize(storage, to: 10_000)
      try storage.write([1], at: 0)
      try resize(storage, to: 5000)
      try storage.write([2], at: 1)
      try storage.sync()
      #expect(try storage.bytes(at: 0, count: 3) == [1, 2, 5])
    },
  ]
}
