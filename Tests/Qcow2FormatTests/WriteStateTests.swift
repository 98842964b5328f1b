import Testing

@testable import Qcow2Format

@Suite struct WriteStateTests {
  /// What the host is known to have, worked out without the table: `isLinked` the host may point to it, `isOlder` it has
  /// less than the memory, `isTaken` a flush writes it, `isAhead` it was changed since.
  private struct Facts: Equatable {
    var isLinked: Bool
    var isOlder: Bool
    var isTaken: Bool
    var isAhead: Bool

    init(_ state: WriteState) {
      isLinked = ![.new, .writingNew, .rewrittenNew].contains(state)
      isTaken = [.writing, .writingNew, .rewritten, .rewrittenNew].contains(state)
      isAhead = [.rewritten, .rewrittenNew].contains(state)
      isOlder = state != .clean
    }

    mutating func meet(_ event: WriteEvent) {
      switch event {
      case .change: (isOlder, isAhead) = (true, isTaken)
      case .freeze: isTaken = isOlder
      case .durable: (isLinked, isOlder, isTaken, isAhead) = (true, isAhead, false, false)
      case .failed: (isTaken, isAhead) = (false, false)
      case .failedWhenLinked: (isLinked, isTaken, isAhead) = (true, false, false)
      }
    }
  }

  @Test func everyEventDoesWhatItMeans() {
    for state in WriteState.allCases {
      for event in WriteEvent.allCases {
        let isPossible =
          switch event {
          case .change: true
          case .freeze: !Facts(state).isTaken
          case .durable, .failed, .failedWhenLinked: Facts(state).isTaken
          }
        guard let next = state.after(event) else {
          #expect(!isPossible, "\(state), \(event)")
          continue
        }
        var expected = Facts(state)
        expected.meet(event)
        #expect(isPossible && Facts(next) == expected, "\(state), \(event)")
      }
    }
  }

  @Test func aFlushTakesWhatDiffersAndIsNotBeingWritten() {
    for state in WriteState.allCases {
      #expect(state.isDue == (state != .clean && state != .writing && state != .writingNew), "\(state)")
    }
  }
}
