import BackingChain
package import HostStorage

/// Why a job is paused; each reason ends by itself or by its own means.
package struct PauseReasons: Sendable {
  package var byUser = false
  /// Until it is resumed.
  package var error: StreamError?
  /// Until there is more space again.
  package var space: SpaceShortage?

  package var isEmpty: Bool { !byUser && error == nil && space == nil }
}

/// A job at one moment: what `stream/` and `status.json` show.
package struct StreamStatus: Sendable {
  package let state: JobState
  package let pause: PauseReasons
  /// A position in the disk, and the disk's size: equal when everything was looked at.
  package let done: ByteCount
  package let total: ByteCount
  /// Bytes still to copy; while they are not measured yet, a bound.
  package let remaining: ByteCount
  /// Bytes copied since the disk was mounted.
  package let copied: ByteCount
  package let speed: ByteCount
  package let onError: ErrorPolicy
  /// The kept layer's path; nil: the whole chain is flattened.
  package let base: String?
  /// The line that the job completes with, armed or waited for.
  package let armed: [UInt8]?
  /// A sentence; empty when all is well.
  package let error: String
}

extension JobCore {
  var status: StreamStatus {
    StreamStatus(
      state: state, pause: pause, done: sweep.done, total: sweep.disk.count, remaining: sweep.remaining, copied: copied,
      speed: limit.bytesPerSecond, onError: onError, base: base?.path, armed: completion?.line,
      error: (pause.error ?? lastError)?.message ?? pause.space?.message ?? "")
  }
}

extension SpaceShortage {
  var message: String {
    """
    \(free.bytes) bytes are free on the active layer's file system, fewer than the \(wanted.bytes) of min-free; the job \
    goes on by itself when there are more
    """
  }
}
