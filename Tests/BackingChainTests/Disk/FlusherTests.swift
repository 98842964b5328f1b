import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport
import Testing

@testable import BackingChain

/// What was written becomes durable without the guest's asking, and where that fails, it is known.
@Suite(.timeLimit(.minutes(1))) struct FlusherTests {
  /// A chain of one qcow2 image that flushes every `interval`.
  private static func chain(every interval: Duration) throws -> (BackingChain, MemoryStorage) {
    let storage = MemoryStorage(path: "top.qcow2")
    try Qcow2Creation(virtualSize: ByteCount(256 << 20)).write(to: storage)
    let image = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil, options: .init())
    let layer = Layer(image: image, path: storage.path, opened: storage.status())
    return (BackingChain(layers: [layer], active: image, flushInterval: interval), storage)
  }

  private static let never: Duration = .seconds(86_400)

  private static func write(_ count: Int, to chain: BackingChain) throws {
    try chain.write([UInt8](repeating: 1, count: count).span, at: GuestOffset(0))
  }

  /// Whether the image, as the host would have it after a power cut, has what was written.
  private static func isDurable(_ storage: MemoryStorage) -> Bool {
    guard let sync = storage.log.lastIndex(of: .sync), let write = storage.log.lastIndex(where: { $0 != .sync })
    else { return false }
    return write < sync
  }

  @Test func whatIsWrittenIsFlushedByItself() throws {
    let (chain, storage) = try Self.chain(every: .milliseconds(1))
    storage.forgetLog()
    try Self.write(512, to: chain)
    #expect(eventually { Self.isDurable(storage) ? true : nil } == true)
    try chain.close()
  }

  @Test func muchThatIsAllocatedIsFlushedAtOnce() throws {
    let (chain, storage) = try Self.chain(every: Self.never)
    storage.forgetLog()
    try Self.write(512, to: chain)
    chain.noteAllocated(Flusher.limit - 1)
    #expect(eventually { Self.isDurable(storage) ? true : nil } == true)
    try chain.close()
  }

  @Test func aFlushThatFailsIsKnownAndOneThatSucceedsLaterMakesUpForIt() throws {
    let (chain, storage) = try Self.chain(every: .milliseconds(1))
    let seen = Monitor<[String]>([])
    chain.onDurabilityChange { durability in seen.withLock { $0.append(durability.sentence) } }
    // What a flush writes after its first sync fails.
    storage.setHook { action, _ in if action == .sync { storage.setFaults(FaultPlan([.write], nth: 1, forEver: true)) }
    }
    try Self.write(512, to: chain)
    #expect(eventually { chain.durability.failure } != nil)
    #expect(!chain.isDurabilityLost)
    storage.setHook(nil)
    storage.setFaults(nil)
    #expect(eventually { chain.durability.failure == nil ? true : nil } == true)
    #expect(Self.isDurable(storage))
    #expect(eventually { seen.read { $0.count } == 2 ? true : nil } == true)
    try chain.close()
  }

  @Test(arguments: [StorageAction.write, .sync])
  func aLastFlushThatFailsIsAnError(of action: StorageAction) throws {
    let (chain, storage) = try Self.chain(every: Self.never)
    try Self.write(512, to: chain)
    storage.setFaults(FaultPlan([action], nth: 1))
    #expect(throws: ChainError.self) { try chain.close() }
    #expect(chain.durability.failure != nil)
    #expect(chain.isDurabilityLost == (action == .sync))
  }

  @Test func aLossIsFinalAndItsFirstCauseCounts() throws {
    let (chain, _) = try Self.chain(every: Self.never)
    let causes = ["first", "second"].map { ChainError(.storage, path: "top.qcow2", message: $0) }
    for cause in causes { chain.loseDurability(because: cause) }
    #expect(throws: ChainError.self) { try chain.flush() }
    #expect(chain.durabilityLoss?.message == "first")
    try chain.close()
    #expect(chain.isDurabilityLost)
  }
}
