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
  /// Not by a person, and not for want of space, which ends by itself.
  var isPausedByError = false

  /// Somebody has to look before it goes on.
  var isStopped: Bool { state == .failed || isPausedByError }

  var fraction: Double { total.bytes == 0 ? 1 : min(1, Double(done.bytes) / Double(total.bytes)) }

  /// The state in words that say what to do next.
  var headline: String {
    switch state {
    case .idle: "nothing to copy"
    case .running: "copying"
    case .paused: error.isEmpty ? "paused; `flatcow resume` goes on" : "paused"
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
      state: state, done: ByteCount(done), total: ByteCount(total), remaining: ByteCount(left), error: try read(.error),
      isPausedByError: state == .paused ? try isPausedByError() : false)
  }

  private func isPausedByError() throws(CommandError) -> Bool {
    try read(.status).firstMatch(of: /"paused_by"\s*:\s*\[([^\]]*)\]/)?.1.contains("\"error\"") ?? false
  }
}
