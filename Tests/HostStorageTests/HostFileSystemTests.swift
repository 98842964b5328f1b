import Foundation
import HostStorage
import Synchronization
import TestSupport
import Testing

/// What differs between file systems and devices.
@Suite(.enabled(if: HostFileSystem.isAvailable, "nothing can be mounted here"), .timeLimit(.minutes(2)))
struct HostFileSystemTests {
  @Test(arguments: StorageClause.all.filter { $0.testDescription != "reserve takes host space" })
  func withoutReservingTheContractHolds(_ clause: StorageClause) throws {
    let host = try HostFileSystem.ext2()
    try clause.check(host.storage())
  }

  static let aboutSpace = [
    "reserve takes host space", "punch gives space back", "there is not more free space than there is",
  ]

  @Test(arguments: StorageClause.all.filter { !aboutSpace.contains($0.testDescription) })
  func withoutFallocateTheContractHolds(_ clause: StorageClause) throws {
    let host = try HostFileSystem.ramfs()
    try clause.check(host.storage())
  }

  /// `reserve` can then only grow the file by looking at its size and setting another.
  @Test func reservingCutsNothingOffThatIsWrittenAtTheSameTime() throws {
    let host = try HostFileSystem.ramfs()
    let storage = try host.storage()
    let rounds = 1000
    let start = Start()
    let reserver = try HostThread.start(name: "reserver") {
      for round in 1...rounds {
        start.meet(round)
        try? storage.reserve(HostRange(0..<512))
        start.meet(-round)
      }
    }
    var lost = 0
    for round in 1...rounds {
      try storage.resize(to: 0)
      start.meet(round)
      try storage.write([7], at: 600)
      start.meet(-round)
      if try storage.bytes(at: 600, count: 1) != [7] { lost += 1 }
    }
    reserver.join()
    #expect(lost == 0)
  }

  /// Where two threads meet, to the instruction: a thread that sleeps would come too late.
  private final class Start: Sendable {
    private let arrived = Atomic(0)

    func meet(_ round: Int) {
      let target = 2 * (round > 0 ? 2 * round - 1 : -2 * round)
      arrived.add(1, ordering: .acquiringAndReleasing)
      while arrived.load(ordering: .acquiring) < target {}
    }
  }

  @Test func aCloneSharesItsExtents() throws {
    let host = try HostFileSystem.xfs()
    let (source, target) = (try host.storage("source"), try host.storage("target"))
    let all = ByteCount(8 << 20)
    try source.write([UInt8](repeating: 9, count: 4096), at: 0)
    try source.write([UInt8](repeating: 5, count: all.bytes + 4096), at: 4096)
    try source.sync()
    let before = try target.space().free
    #expect(target.mayClone(from: source))
    #expect(try target.clone(all, from: source, at: HostOffset(4096), to: HostOffset(8192)))
    try target.sync()
    #expect(try before - target.space().free < ByteCount(1 << 20))
    #expect(try target.bytes(at: 8191, count: 2) == [0, 5])
    #expect(try target.bytes(at: 8192 + all.bytes - 3, count: 5) == [5, 5, 5])
  }

  @Test func acrossFileSystemsNothingIsClonedNorTriedTwice() throws {
    let host = try HostFileSystem.ext2()
    let directory = try TemporaryDirectory()
    let source = try host.storage("source")
    let target = try FileStorage.create(directory.path("target"))
    try source.write([UInt8](repeating: 5, count: 8192), at: 0)
    #expect(target.mayClone(from: source))
    #expect(try !target.clone(8192, from: source, at: HostOffset(0), to: HostOffset(0)))
    #expect(!target.mayClone(from: source))
    #expect(try target.status().size == 0)
  }
}

@Suite(.enabled(if: HostFileSystem.isAvailable, "nothing can be mounted here"), .timeLimit(.minutes(2)))
struct BlockDeviceTests {
  let directory: TemporaryDirectory
  let device: LoopDevice
  let storage: FileStorage
  let size = 1 << 20

  init() throws {
    directory = try TemporaryDirectory()
    device = try LoopDevice(over: directory.file("disk", [UInt8](repeating: 5, count: size)))
    storage = try FileStorage.open(device.path, readOnly: false)
  }

  @Test func itsSizeIsTheDevices() throws {
    let status = try storage.status()
    #expect(status.isBlockDevice && status.size == ByteCount(size) && status.allocated == ByteCount(size))
    #expect(try storage.space().free == ByteCount(size))
  }

  @Test func itKeepsItsSize() throws {
    try storage.resize(to: 4096)
    try storage.reserve(HostRange(0..<size))
    #expect(try storage.size() == size)
    for refused in [
      { try storage.resize(to: ByteCount(size + 1)) },
      { try storage.reserve(HostRange(0..<(size + 1))) },
      { try storage.write([1, 2], at: size - 1) },
    ] {
      let error = #expect(throws: StorageError.self) { try refused() }
      #expect(error?.errno == ENOSPC)
    }
  }

  @Test(arguments: [0..<8192, 100..<5000, (1 << 20) - 700..<1 << 20])
  func rangesBecomeZeroAlignedOrNot(_ range: Range<Int>) throws {
    for change in [storage.zero, storage.punch] {
      try storage.write([UInt8](repeating: 5, count: size), at: 0)
      try change(HostRange(range))
      var expected = [UInt8](repeating: 5, count: size)
      expected.replaceSubrange(range, with: repeatElement(0, count: range.count))
      #expect(try storage.bytes(count: size) == expected)
    }
  }

  @Test func allIsDataUpToItsEnd() throws {
    #expect(try storage.extent(at: HostOffset(size - 10), limit: 100) == StorageExtent(.data, count: 10))
    #expect(try storage.extent(at: HostOffset(size), limit: 100) == StorageExtent(.pastEnd, count: 100))
  }

  @Test func itIsTheSameDeviceByAnotherNode() throws {
    let numbers = try ExternalProgram("stat").run("-c", "%Hr %Lr", device.path).output.split(separator: " ")
    let node = directory.path("node")
    let minor = numbers[1].trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(try ExternalProgram("mknod").run(node, "b", String(numbers[0]), minor).succeeded)
    let other = try FileStorage.open(node, readOnly: true)
    #expect(try other.status().identity == storage.status().identity)
  }
}

@Suite(.enabled(if: HostFileSystem.isAvailable, "nothing can be mounted here"), .timeLimit(.minutes(2)))
struct LostSyncTests {
  /// The kernel takes writes into its cache for which the device below has no room: it says so at one sync, and
  /// afterwards that all is well.
  @Test func aSyncThatFailedOnceFailsForEver() throws {
    let host = try HostFileSystem.ext2()
    let disk = host.url.appending(path: "disk").path
    try ExternalProgram("truncate").run("-s", "64M", disk)
    let device = try LoopDevice(over: disk)
    let storage = try FileStorage.open(device.path, readOnly: false)
    for place in 0..<32 { try storage.write([UInt8](repeating: 1, count: 1 << 20), at: place << 20) }
    for _ in 0..<3 {
      let error = #expect(throws: StorageError.self) { try storage.sync() }
      #expect(error?.code == .syncLost)
    }
    #expect(try storage.bytes(count: 1).count == 1)
  }
}
