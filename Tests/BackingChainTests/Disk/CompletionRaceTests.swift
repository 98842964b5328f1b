import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport
import Testing

@testable import BackingChain

/// Requests that began before a completion and end after it.
@Suite(.timeLimit(.minutes(1))) struct CompletionRaceTests {
  /// 8 KiB in clusters of 4 KiB: a top over a middle that holds nothing, over a base full of ones, version 2 all of them.
  private struct Images {
    let base = MemoryStorage([UInt8](repeating: 1, count: 8192), path: "base.raw", readOnly: true)
    let middle = MemoryStorage(path: "middle.qcow2")
    let top = MemoryStorage(path: "top.qcow2")
    let image: HeldImage
    let chain: BackingChain
    var layers: [Layer] { chain.snapshot.layers }

    init() throws {
      try Self.create(middle, over: "base.raw", "raw")
      try Self.create(top, over: "middle.qcow2", "qcow2")
      image = HeldImage(
        try Qcow2ActiveImage(header: Qcow2Header.read(from: top), storage: top, dataStorage: nil, options: .init()))
      let between = try Qcow2Image(
        header: Qcow2Header.read(from: middle), storage: middle, dataStorage: nil, budget: TableBudget(limit: 0))
      chain = BackingChain(
        layers: [
          Layer(image: image, path: top.path, opened: top.status()),
          Layer(image: between, path: middle.path, opened: middle.status()),
          Layer(image: try RawImage(base), path: base.path, opened: base.status()),
        ], active: image)
    }

    private static func create(_ storage: MemoryStorage, over name: String, _ format: String) throws {
      var creation = Qcow2Creation(virtualSize: 8192)
      (creation.clusterSize, creation.version) = (4096, 2)
      creation.backing = RecordedBacking(name: Array(name.utf8), format: format)
      try creation.write(to: storage)
    }

    func read(_ range: Range<Int>) -> Waiter<[UInt8]?> { Waiter { [chain] in try? chain.bytes(in: range) } }

    func complete(keeping base: Layer?) -> Waiter<Bool> {
      Waiter { [chain] in
        let backing = base.map { _ in RecordedBacking(name: Array("base.raw".utf8), format: "raw") }
        return (try? chain.complete(recording: backing, keeping: base)) != nil
      }
    }
  }

  /// Holds the reads of a storage until it is let go on.
  private final class Hold: Sendable {
    private let state = Monitor((isReached: false, isOver: false))
    private let storage: MemoryStorage

    init(_ storage: MemoryStorage) {
      self.storage = storage
      storage.setHook { [state] action, _ in
        guard action == .read else { return }
        state.withLock { $0.isReached = true }
        state.wait { $0.isOver ? () : nil }
      }
    }

    func awaitReader() { state.wait { $0.isReached ? () : nil } }
    func end() {
      storage.setHook(nil)
      state.withLock { $0.isOver = true }
    }
  }

  @Test func aReaderDuringACompletionDoesNotSeeOldBytesOfTheBaseWhereVersion2Discards() throws {
    let images = try Images()
    try images.chain.write([UInt8](repeating: 9, count: 4096).span, at: GuestOffset(0))
    // Somebody is in the base, so that it stays open for a while.
    let hold = Hold(images.base)
    let inBase = images.read(4096..<8192)
    hold.awaitReader()
    images.image.holdNextLookUp()
    let reader = images.read(0..<4096)
    images.image.awaitHeld()
    let completion = images.complete(keeping: nil)
    #expect(eventually { images.layers.count == 1 ? true : nil } == true)
    try images.chain.zero(GuestRange(0..<4096), reserving: false)
    images.image.letGoOn()
    hold.end()
    #expect(reader.result() == [UInt8](repeating: 0, count: 4096))
    #expect(inBase.result() == [UInt8](repeating: 1, count: 4096))
    #expect(completion.result())
    try images.chain.close()
  }

  @Test func aLayerIsNotClosedUnderItsReader() throws {
    let images = try Images()
    let hold = Hold(images.base)
    let reader = images.read(0..<4096)
    hold.awaitReader()
    let completion = images.complete(keeping: nil)
    #expect(eventually { images.layers.count == 1 ? true : nil } == true)
    #expect(!images.base.isClosed)
    hold.end()
    #expect(reader.result() == [UInt8](repeating: 1, count: 4096))
    #expect(completion.result())
    #expect(images.base.isClosed && images.middle.isClosed)
    try images.chain.close()
  }

  @Test func aReaderStuckInTheKeptBaseHoldsNoCompletionUp() throws {
    let images = try Images()
    let hold = Hold(images.base)
    let reader = images.read(0..<8192)
    hold.awaitReader()
    #expect(images.complete(keeping: images.layers[2]).result())
    #expect(images.middle.isClosed && !images.base.isClosed)
    hold.end()
    #expect(reader.result() == [UInt8](repeating: 1, count: 8192))
    try images.chain.close()
  }

  @Test func aCountOfTheDisksBytesStuckInTheKeptBaseHoldsNoCompletionUp() throws {
    let images = try Images()
    let (isReached, isOver) = (Monitor(false), Monitor(false))
    images.base.setHook { action, _ in
      guard action == .extent else { return }
      isReached.withLock { $0 = true }
      isOver.wait { $0 ? () : nil }
    }
    let count = Waiter { images.chain.allocatedSize() }
    isReached.wait { $0 ? () : nil }
    #expect(images.complete(keeping: images.layers[2]).result())
    isOver.withLock { $0 = true }
    _ = count.result()
    try images.chain.close()
  }

  @Test func aRequestThatMeetsALayerThatWasLetGoGoesOnWithTheShorterChain() throws {
    let images = try Images()
    images.image.holdNextLookUp()
    let reader = images.read(0..<8192)
    images.image.awaitHeld()
    #expect(images.complete(keeping: images.layers[2]).result())
    images.image.letGoOn()
    #expect(reader.result() == [UInt8](repeating: 1, count: 8192))
    try images.chain.close()
  }
}
