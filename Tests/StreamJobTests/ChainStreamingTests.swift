import BackingChain
import Foundation
import HostStorage
import ImageFormat
import StreamJob
import TestSupport
import Testing

/// A job on a chain of real images, and what QEMU says of them afterwards.
@Suite(.timeLimit(.minutes(2))) struct ChainStreamingTests {
  /// Opens the chain, has `line` written to control, and closes it.
  private func finish(
    _ images: RealChain, _ line: String, _ options: StreamOptions = .plain, when state: JobState? = nil,
    blocking: Bool = true
  ) throws -> Result<Void, StreamError> {
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain, options)
    if let state { running.awaitState(state) }
    let result = running.write(line, blocking: blocking)
    if !blocking { running.wait { !$0.state.hasJob } }
    #expect(try chain.contents() == images.expected)
    #expect(running.job.shutDown(patience: .seconds(10)))
    return result
  }

  @Test(arguments: ["compat=1.1", "compat=0.10", "compat=1.1,extended_l2=on", "compat=1.1,cluster_size=4096"])
  func aWholeChainIsFlattened(options: String) throws {
    let images = try RealChain(options: options)
    try finish(images, "").get()
    #expect(try images.recorded() == "")
    // Only now may the layers be deleted.
    for layer in ["mid.qcow2", "base.raw"] { try FileManager.default.removeItem(atPath: images.directory.path(layer)) }
    #expect(try images.contents() == images.expected)
  }

  @Test func aBaseIsKeptUnderItsRelativeName() throws {
    let images = try RealChain()
    try finish(images, "", StreamOptions(start: .on, base: "base.raw")).get()
    #expect(try images.recorded() == "base.raw raw")
    try FileManager.default.removeItem(atPath: images.directory.path("mid.qcow2"))
    #expect(try images.contents() == images.expected)
  }

  @Test(arguments: ["compat=1.1", "compat=0.10"])
  func aShorterLayerBetweenHidesTheKeptBase(options: String) throws {
    let images = try RealChain(midSize: 1_048_576, options: options)
    try finish(images, "", StreamOptions(start: .on, base: "base.raw")).get()
    #expect(try images.contents() == images.expected)
  }

  @Test func aBaseChosenByTheStringIsLookedThroughAgain() throws {
    let images = try RealChain(midSize: 1_048_576)
    // All that has to be copied when the whole chain goes is there; zeros that hide the base are not.
    try finish(images, "base.raw", when: .pending).get()
    #expect(try images.recorded() == "base.raw raw")
    #expect(try images.contents() == images.expected)
  }

  @Test func theAbsolutePathIsRecordedAsItIsWritten() throws {
    let images = try RealChain()
    let path = images.directory.path("base.raw")
    try finish(images, path).get()
    #expect(try images.recorded() == "\(path) raw")
  }

  @Test func aStringWithABaseSetIsRecordedVerbatim() throws {
    let images = try RealChain()
    try finish(images, "elsewhere.raw", StreamOptions(start: .on, base: "base.raw")).get()
    #expect(try images.recorded() == "elsewhere.raw raw")
  }

  @Test func anArmedStringCompletesByItself() throws {
    let images = try RealChain()
    try finish(images, "base.raw", StreamOptions(start: .off), blocking: false).get()
    #expect(try images.recorded() == "base.raw raw")
  }

  @Test func theStringThatIsRecordedAlreadyWritesNoHeader() throws {
    let images = try RealChain()
    let file = images.directory.url.appending(path: "top.qcow2")
    let before = try Data(contentsOf: file)
    try finish(images, "mid.qcow2", StreamOptions(start: .on, base: "mid.qcow2")).get()
    #expect(try Data(contentsOf: file) == before)
  }

  @Test(arguments: [
    ("gone.raw", ChainError.Code.notInChain), ("top.qcow2", .invalidName), ("base\0raw", .invalidName),
    (String(repeating: "x", count: 1024), .nameTooLong),
  ])
  func whatCannotBeRecordedIsToldBeforeAnythingIsCopied(line: String, code: ChainError.Code) throws {
    let images = try RealChain()
    let result = try finish(images, line, StreamOptions(start: .off))
    #expect(result.cause == code)
    #expect(try images.recorded() == "mid.qcow2 qcow2")
  }

  @Test func aNameWithoutRoomInTheHeaderIsToldAtOnce() throws {
    let images = try RealChain(options: "compat=1.1,cluster_size=512")
    let line = String(repeating: "x", count: 500)
    #expect(try finish(images, line, StreamOptions(start: .on, base: "base.raw")).cause == .noSpace)
  }

  @Test func snapshotsThatNeedTheBackingFileAreRefused() throws {
    let images = try RealChain()
    try images.qemu("qemu-img", "snapshot", "-c", "s1", "top.qcow2")
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain)
    #expect(running.status.state == .failed)
    #expect(running.status.error.contains("snapshot"))
    #expect(running.write("").cause == .snapshotsNeedBacking)
  }

  @Test func aBaseThatIsNotThereIsAnsweredWithThoseThatAre() throws {
    let images = try RealChain()
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain, StreamOptions(start: .on, base: "gone.raw"))
    #expect(running.status.state == .failed)
    #expect(running.status.error.contains("gone.raw"))
    #expect(running.status.error.contains(images.directory.path("mid.qcow2")))
    try running.job.setBase(named: Array(images.directory.path("base.raw").utf8))
    try running.job.run()
    running.awaitState(.pending)
  }

  @Test func aReadOnlyChainIsIdleAndRefusesToBeCompleted() throws {
    let images = try RealChain()
    let chain = try images.open { $0.isReadOnly = true }
    defer { try? chain.close() }
    let running = RunningJob(target: chain)
    #expect(running.status.state == .idle)
    #expect(running.write("").cause == .readOnly)
  }

  @Test(arguments: ["base.raw", "mid.qcow2"])
  func aLayerThatChangedOnTheHostStopsTheCompletion(layer: String) throws {
    let images = try RealChain()
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain)
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: images.directory.path(layer))
    #expect(running.write("").cause == .changed)
    #expect(try images.recorded() == "mid.qcow2 qcow2")
    #expect(try chain.contents() == images.expected)
  }

  @Test(arguments: ["base.raw", "mid.qcow2"])
  func aLayerThatChangesWhileAllIsMadeDurableStopsTheCompletion(layer: String) throws {
    let images = try RealChain()
    let chain = try images.open()
    defer { try? chain.close() }
    RunningJob(target: chain).awaitState(.pending)
    let plan = try chain.plan([], keeping: nil)
    try chain.prepareCompletion(plan)
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: images.directory.path(layer))
    let error = #expect(throws: ChainError.self) { try chain.complete(plan) }
    #expect(error?.code == .changed)
    #expect(try images.recorded() == "mid.qcow2 qcow2")
  }

  @Test func theJobNeedsNothingOfAKeptBaseThatIsDamaged() throws {
    let images = try RealChain(base: "qcow2")
    try images.damageAnEntry(of: "base.raw")
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain, StreamOptions(start: .on, base: "base.raw"))
    try running.write("").get()
    #expect(chain.snapshot.layers.count == 2)
    #expect(running.job.shutDown(patience: .seconds(10)))
  }

  @Test func theGuestsWritesWin() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    var images = try RealChain()
    let chain = try images.open()
    let running = RunningJob(target: chain, StreamOptions(start: .on, speed: 8_000_000))
    for _ in 0..<200 {
      let range = random.range(below: RealChain.size, longest: 100_000)
      let bytes = random.bytes(count: range.count)
      try chain.write(bytes.span, at: GuestOffset(range.lowerBound))
      images.expected.replaceSubrange(range, with: bytes)
    }
    running.job.setSpeed(0)
    try running.write("").get()
    #expect(try chain.contents() == images.expected, "seed \(seed)")
    #expect(running.job.shutDown(patience: .seconds(10)))
    try chain.close()
    #expect(try images.contents() == images.expected, "seed \(seed)")
  }

  @Test func whatWasCopiedIsNotCopiedAgainAfterTheNextMount() throws {
    let images = try RealChain()
    let chain = try images.open()
    let running = RunningJob(target: chain)
    running.awaitState(.pending)
    let copied = running.status.copied
    #expect(copied.bytes > RealChain.size / 2)
    try running.job.cancel()
    #expect(running.job.shutDown(patience: .seconds(10)))
    try chain.close()
    let again = try images.open()
    defer { try? again.close() }
    let second = RunningJob(target: again)
    second.awaitState(.pending)
    #expect(second.status.copied == 0)
    #expect(try again.contents() == images.expected)
  }

  @Test func layersThatAreLetGoAreUnlocked() throws {
    let images = try RealChain()
    let chain = try images.open()
    defer { try? chain.close() }
    let running = RunningJob(target: chain, StreamOptions(start: .off))
    #expect(throws: RealChain.Failure.self) { try images.qemu("qemu-io", "-c", "write 0 512", "mid.qcow2") }
    try running.write("base.raw").get()
    try images.qemu("qemu-io", "-c", "write 0 512", "mid.qcow2")
    #expect(throws: RealChain.Failure.self) { try images.qemu("qemu-io", "-f", "raw", "-c", "write 0 512", "base.raw") }
    #expect(chain.snapshot.layers.map { ($0.path as NSString).lastPathComponent } == ["top.qcow2", "base.raw"])
  }
}

extension Result where Failure == StreamError {
  fileprivate var cause: ChainError.Code? {
    if case .failure(let error) = self { error.cause?.code } else { nil }
  }
}
