import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport
import Testing

/// Requests that began before a completion and end after it.
@Suite(.timeLimit(.minutes(1))) struct CompletionRaceTests {
  @Test func aReaderDuringACompletionDoesNotSeeOldBytesOfTheBaseWhereVersion2Discards() throws {
    let base = MemoryStorage([UInt8](repeating: 1, count: 8192), path: "base.raw", readOnly: true)
    let top = MemoryStorage(path: "top.qcow2")
    var creation = Qcow2Creation(virtualSize: 8192)
    (creation.clusterSize, creation.version) = (4096, 2)
    creation.backing = RecordedBacking(name: Array("base.raw".utf8), format: "raw")
    try creation.write(to: top)
    let image = try Qcow2ActiveImage(
      header: Qcow2Header.read(from: top), storage: top, dataStorage: nil, options: .init())
    let chain = BackingChain(
      layers: [
        Layer(image: image, path: top.path, opened: top.status()),
        Layer(image: try RawImage(base), path: base.path, opened: base.status()),
      ], active: image)
    // Not in a row on the host: two reads.
    for start in [4096, 0] { try chain.write([UInt8](repeating: 9, count: 4096).span, at: GuestOffset(start)) }

    // A reader is held between the first cluster and the second.
    let (isHeld, mayGoOn) = (Monitor(false), Monitor(false))
    top.setHook { action, _ in
      guard action == .read else { return }
      isHeld.withLock { $0 = true }
      mayGoOn.wait { $0 ? () : nil }
    }
    let reader = Waiter { (try? chain.bytes(in: 0..<8192)) ?? [] }
    isHeld.wait { $0 ? () : nil }
    let completion = Waiter { (try? chain.complete(recording: nil, keeping: nil)) != nil }
    #expect(eventually { chain.snapshot.layers.count == 1 ? true : nil } == true)
    top.setHook(nil)
    try chain.zero(GuestRange(4096..<8192), reserving: false)
    mayGoOn.withLock { $0 = true }
    #expect(!reader.result()[4096...].contains(1))
    #expect(completion.result())
    try chain.close()
  }
}
