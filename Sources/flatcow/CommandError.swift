import HostStorage

/// How the command ends; the numbers are part of the contract with scripts.
struct Outcome: Equatable, Sendable {
  var code: Int32

  static let done = Self(code: 0)
  static let usage = Self(code: 1)
  /// Something that the command needs is not there: no such file, not mounted, not permitted.
  static let environment = Self(code: 2)
  /// The job failed.
  static let failed = Self(code: 3)
  static let timedOut = Self(code: 4)
  static let interrupted = Self(code: 130)
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

/// Says something on the way that is no error.
func printNote(_ sentence: String) { StandardStream.error.write("flatcow: \(sentence)\n") }
