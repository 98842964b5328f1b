/// What a person sees of the job; the raw values are the words of `stream/state`.
package enum JobState: String, CaseIterable, Sendable {
  /// No job: not asked for, not possible, or nothing to do.
  case idle
  case running
  /// By a person, by an error, or because the host's space runs short: see `PauseReasons`.
  case paused
  /// Everything above the base is in the active layer; waiting for a backing-file string.
  case pending
  /// All is being made durable, and then the header written.
  case finishing
  case completed
  case failed
  case cancelled

  /// Whether a job exists that can be paused or cancelled, and need not be started.
  package var hasJob: Bool {
    switch self {
    case .running, .paused, .pending, .finishing: true
    case .idle, .completed, .failed, .cancelled: false
    }
  }
}

/// What can happen to a job.
enum JobEvent: CaseIterable {
  case start
  /// Asked to start, but no layer is above the base.
  case nothingToDo
  case pause
  /// The last reason to be paused is gone.
  case resume
  /// Another base: the disk must be looked through again.
  case rescan
  /// A whole look through the disk found nothing left to populate.
  case allCopied
  /// There is a string to record.
  case finish
  /// The string was withdrawn before header writing began.
  case withdraw
  /// The header is durable.
  case recorded
  case fail
  case cancel
}

extension JobState {
  /// The state after `event`; nil where it cannot happen.
  func after(_ event: JobEvent) -> JobState? {
    switch (self, event) {
    case (_, .fail): .failed
    case (_, .cancel): hasJob ? .cancelled : self
    case (_, .start): hasJob ? nil : .running
    case (_, .nothingToDo): hasJob ? nil : .idle
    case (.running, .pause), (.pending, .pause), (.paused, .pause): .paused
    case (.paused, .resume): .running
    case (.running, .rescan), (.pending, .rescan), (.finishing, .rescan): .running
    case (.paused, .rescan): .paused
    case (.running, .allCopied): .pending
    case (.pending, .finish): .finishing
    case (.finishing, .withdraw): .pending
    case (.finishing, .recorded): .completed
    default: nil
    }
  }
}
