import BackingChain

/// What the job does when it cannot read or write a range; QEMU's `on-error`, with QEMU's meaning. The kind of error
/// decides, never which layer or which direction it came from. Errors of the completion are not subject to it: they
/// always fail the job.
package enum ErrorPolicy: String, CaseIterable, Sendable {
  /// The job fails.
  case report
  /// The range is left out; the job goes on to the end and fails there, with the first such error.
  case ignore
  /// As `stop` for want of space, as `report` for all else.
  case enospc
  /// The job pauses, and tries the same range again when it is resumed.
  case stop

  enum Action { case fail, leaveOut, pause }

  func action(for error: ChainError) -> Action {
    switch self {
    case .report: .fail
    case .ignore: .leaveOut
    case .enospc: error.isOutOfSpace ? .pause : .fail
    case .stop: .pause
    }
  }
}
