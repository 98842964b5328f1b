package import BackingChain

/// Why a request to the job was refused, or ended without success.
package struct StreamError: Error, Sendable {
  /// What kind of failure it is; control flow looks at this and at nothing else.
  package enum Code: Sendable {
    /// Another completion is waiting or under way, or the job is paused by a person.
    case busy
    /// Not possible in the job's present state.
    case noJob
    /// The job was cancelled while the completion waited.
    case cancelled
    /// The completion was withdrawn by its writer.
    case withdrawn
    /// The disk is being unmounted.
    case shutDown
    /// The chain refused or failed: see `cause`.
    case chain
  }

  package let code: Code
  /// A sentence for a person.
  package let message: String
  package let cause: ChainError?

  init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
    cause = nil
  }

  static let shutDown = StreamError(.shutDown, "the disk is being unmounted")

  init(_ cause: ChainError) {
    code = .chain
    message = cause.message
    self.cause = cause
  }
}

extension StreamError: CustomStringConvertible {
  package var description: String { message }
}

extension StreamError {
  /// Runs `body`, whose errors are the chain's.
  static func wrapping<Result>(_ body: () throws(ChainError) -> Result) throws(StreamError) -> Result {
    do throws(ChainError) {
      return try body()
    } catch {
      throw StreamError(error)
    }
  }
}
