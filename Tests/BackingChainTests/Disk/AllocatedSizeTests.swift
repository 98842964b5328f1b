import HostStorage
import ImageFormat
import Testing

@testable import BackingChain

@Suite(.timeLimit(.minutes(1))) struct AllocatedSizeTests {
  let size = AllocatedSize()

  @Test func whoeverAsksDoesNotWaitForACountThatHangs() {
    let answers = Monitor(false)
    #expect(size.value { _ in answers.wait { $0 ? 5 : nil } } == nil)
    #expect(size.value { _ in 6 } == nil)
    answers.withLock { $0 = true }
    while size.value({ _ in 7 }) == nil { HostThread.sleep(.milliseconds(1)) }
    #expect(size.value { _ in 8 } == 5)
  }

  @Test func whatIsWrittenDuringACountIsAdded() {
    let answers = Monitor(false)
    size.note(100)
    #expect(size.value { _ in answers.wait { $0 ? 5 : nil } } == nil)
    size.note(3)
    answers.withLock { $0 = true }
    while size.value({ _ in nil }) == nil { HostThread.sleep(.milliseconds(1)) }
    #expect(size.value { _ in nil } == 8)
  }

  @Test func aWriteInPlaceCountsByWholeBlocks() {
    while size.value({ _ in 5 }) == nil { HostThread.sleep(.milliseconds(1)) }
    size.note(written: GuestRange(at: GuestOffset(4095), count: 2))
    #expect(size.value { _ in nil } == ByteCount(5 + 8192))
  }

  @Test func stoppingEndsACountAndTellsOfOneThatHangs() {
    let answers = Monitor(false)
    #expect(
      size.value { _ in
        {
          answers.wait { $0 ? () : nil }; return nil
        }()
      } == nil)
    #expect(!size.stop(patience: .zero))
    answers.withLock { $0 = true }
    let other = AllocatedSize()
    #expect(
      other.value { isStopped in
        while !isStopped() { HostThread.sleep(.milliseconds(1)) }
        return nil
      } == nil)
    #expect(other.stop(patience: .seconds(30)))
    #expect(other.value { _ in 9 } == nil)
  }
}
