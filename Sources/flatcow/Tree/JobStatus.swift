import HostStorage
import StreamJob

/// One look at a job.
struct JobStatus: Equatable, Sendable {
  var state: JobState
  /// A position, as QEMU's offset and len.
  var done: ByteCount
  var total: ByteCount
  /// Still to copy.
  var remaining: ByteCount
  /// A sentence; empty when there is none.
  var error: String

  /// Stopped by an error, not by a person: somebody has to look.
  var isStopped: Bool { state == .failed || state == .paused && !error.isEmpty }

  var fraction: Double { total.bytes == 0 ? 1 : min(1, Double(done.bytes) / Double(total.bytes)) }

  /// The state in words that say what to do next.
  var headline: String {
    switch state {
    case .idle: "nothing to copy"
    case .running: "copying"
    case .paused: error.isEmpty ? "paused; `flatcow resume` goes on" : "paused by an error"
    case .pending: "all copied; waiting for `flatcow finish`"
    case .finishing: "recording the backing file"
    case .completed: "completed"
    case .failed: "failed"
    case .cancelled: "cancelled; `flatcow stream` starts again"
    }
  }
}

extension MountedTree {
  func jobStatus() throws(CommandError) -> JobStatus {
    let name = try read(.state)
    guard let state = JobState(rawValue: name) else {
      throw CommandError(.environment, "\(path(of: .state)): \"\(name)\" is no state that this flatcow knows")
    }
    let progress = try read(.progress).split(separator: " ").map { Int($0) }
    guard progress.count == 2, let done = progress[0], let total = progress[1], let left = Int(try read(.remaining))
    else {
      throw CommandError(.environment, "\(path(of: .progress)): not two numbers")
    }
    return JobStatus(
      state: state, done: ByteCount(done), total: ByteCount(total), remaining: ByteCount(left), error: try read(.error))
  }
}
