import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport
import Testing

@testable import BackingChain

/// What requests on the same bytes leave, on a storage whose writes take two steps.
@Suite(.timeLimit(.minutes(1))) struct RangeLockTests {
  private static let size = 8192

  /// A disk with data everywhere, of this format.
  private func disk(_ format: String) throws -> (chain: BackingChain, storage: MemoryStorage) {
    if format == "raw" {
      let storage = MemoryStorage(SparseBytes([UInt8](repeating: 7, count: Self.size)), path: "disk")
      let image = try RawImage(storage)
      return (
        BackingChain(layers: [Layer(image: image, path: "disk", opened: storage.status())], active: image), storage
      )
    }
    let storage = MemoryStorage(path: "disk")
    var creation = Qcow2Creation(virtualSize: ByteCount(Self.size))
    creation.clusterSize = 4096
    try creation.write(to: storage)
    let image = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil, options: .init())
    let chain = BackingChain(layers: [Layer(image: image, path: "disk", opened: storage.status())], active: image)
    try chain.write([UInt8](repeating: 7, count: Self.size).span, at: GuestOffset(0))
    return (chain, storage)
  }

  /// Holds the first write between its halves, until the hold ends; later ones go through.
  private final class HeldWrite: Sendable {
    private let state = Monitor((isTaken: false, isOver: false))

    init(in storage: MemoryStorage) {
      storage.setPauseWithinWrites { [state] in
        let isFirst = state.withLock { state in
          defer { state.isTaken = true }
          return !state.isTaken
        }
        if isFirst { state.wait { $0.isOver ? () : nil } }
      }
    }

    func awaitWriter() { state.wait { $0.isTaken ? () : nil } }
    func end() { state.withLock { $0.isOver = true } }
  }

  @Test(arguments: ["raw", "qcow2"]) func ofTwoWritersOnTheSameBytesOneComesAfterTheOther(format: String) throws {
    let (chain, storage) = try disk(format)
    let hold = HeldWrite(in: storage)
    let first = Waiter { (try? chain.write([UInt8](repeating: 1, count: 1024).span, at: GuestOffset(512))) != nil }
    hold.awaitWriter()
    let second = Waiter { (try? chain.write([UInt8](repeating: 2, count: 1024).span, at: GuestOffset(512))) != nil }
    // The second waits for the first, which is what this is about; where it does not, it has ended by now.
    #expect(eventually { chain.ranges.waiting == 1 ? true : nil } == true)
    hold.end()
    #expect(first.result() && second.result())
    #expect(try chain.bytes(in: 512..<1536) == [UInt8](repeating: 2, count: 1024))
  }

  @Test func aZeroRequestHoldsAllThatItClears() throws {
    let (chain, storage) = try disk("qcow2")
    let hold = HeldWrite(in: storage)
    // A writer is within its second cluster.
    let writer = Waiter { (try? chain.write([UInt8](repeating: 1, count: 1024).span, at: GuestOffset(4096))) != nil }
    hold.awaitWriter()
    let zero = Waiter { (try? chain.zero(GuestRange(0..<8192), reserving: false)) != nil }
    #expect(eventually { chain.ranges.waiting == 1 ? true : nil } == true)
    #expect(try chain.bytes(in: 4096..<4608) == [UInt8](repeating: 1, count: 512))
    hold.end()
    #expect(writer.result() && zero.result())
    #expect(try chain.bytes(in: 0..<8192) == [UInt8](repeating: 0, count: 8192))
  }
}
