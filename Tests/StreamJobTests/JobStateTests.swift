import Testing

@testable import StreamJob

@Suite struct JobStateTests {
  /// Every change of state that there is; what is not here cannot happen.
  static let table: [JobEvent: [(from: JobState, to: JobState)]] = [
    .start: [(.idle, .running), (.completed, .running), (.failed, .running), (.cancelled, .running)],
    .nothingToDo: [(.idle, .idle), (.completed, .idle), (.failed, .idle), (.cancelled, .idle)],
    .pause: [(.running, .paused), (.pending, .paused), (.paused, .paused)],
    .resume: [(.paused, .running)],
    .rescan: [(.running, .running), (.pending, .running), (.finishing, .running), (.paused, .paused)],
    .allCopied: [(.running, .pending)],
    .finish: [(.pending, .finishing)],
    .withdraw: [(.finishing, .pending)],
    .recorded: [(.finishing, .completed)],
    .fail: JobState.allCases.map { ($0, .failed) },
    .cancel: [
      (.idle, .idle), (.completed, .completed), (.failed, .failed), (.cancelled, .cancelled),
      (.running, .cancelled), (.paused, .cancelled), (.pending, .cancelled), (.finishing, .cancelled),
    ],
  ]

  @Test(arguments: JobState.allCases, JobEvent.allCases)
  func everyStateMeetsEveryEvent(state: JobState, event: JobEvent) {
    let expected = Self.table[event]?.first { $0.from == state }?.to
    #expect(state.after(event) == expected, "\(state) after \(event)")
  }
}
