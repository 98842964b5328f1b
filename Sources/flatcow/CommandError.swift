import HostStorage

/// How the command ends; the numbers are part of the contract with scripts.
enum Outcome: Int32, Sendable {
  case done = 0
  case usage = 1
  /// Something that the command needs is not there: no such file, not mounted, not permitted.
  case environment = 2
  /// The job or the check failed.
  case failed = 3
  case timedOut = 4
  case interrupted = 130
}

/// Why a verb did not do its work: one sentence for a person that names the file, the cause and the way out.
struct CommandError: Error, Equatable {
  var outcome: Outcome
  var sentence: String

  init(_ outcome: Outcome, _ sentence: String) {
    self.outcome = outcome
    self.sentence = sentence
  }

  /// The host refused something that every verb needs.
  init(_ error: StorageError) {
    self.init(.environment, error.description)
  }
}
