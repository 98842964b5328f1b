import HostStorage
import ImageFormat
import StreamJob

/// A job, with what a test needs to wait for it; shut down with the test.
final class RunningJob<Target: StreamTarget>: Sendable {
  let target: Target
  let job: StreamJob
  private let changes = Monitor(0)

  init(target: Target, _ options: StreamOptions = .plain) {
    self.target = target
    job = StreamJob(target, options: options)
    job.onChange { [changes] in changes.withLock { $0 += 1 } }
  }

  deinit {
    (target as? FakeTarget)?.openAllGates()
    _ = job.shutDown(patience: .seconds(10))
  }

  var status: StreamStatus { job.status }

  /// Waits until the job is in this state; a test's time limit ends it where it never comes.
  func awaitState(_ state: JobState) { wait { $0.state == state } }

  /// Waits until the status is such; looked at again at every change of state, and 20 times a second.
  func wait(until condition: (StreamStatus) -> Bool) {
    while !condition(status) {
      _ = changes.wait(deadline: .now + .milliseconds(50)) { [job] _ in condition(job.status) ? () : nil }
    }
  }

  /// Writes to control, and waits for the answer.
  func write(_ line: String, blocking: Bool = true) -> Result<Void, StreamError> {
    request(line, blocking: blocking).outcome
  }

  func request(_ line: String, blocking: Bool = true) -> Request {
    let answer = Monitor<Result<Void, StreamError>?>(nil)
    let ticket = job.requestCompletion(Array(line.utf8), blocking: blocking) { result in
      answer.withLock { $0 = result }
    }
    return Request(ticket: ticket, answer: answer)
  }

}

/// A write to control that waits.
struct Request: Sendable {
  let ticket: CompletionTicket
  let answer: Monitor<Result<Void, StreamError>?>

  var outcome: Result<Void, StreamError> { answer.wait { $0 } }
  var isAnswered: Bool { answer.read { $0 != nil } }
}

extension RunningJob<FakeTarget> {
  convenience init(_ target: FakeTarget = FakeTarget(), _ options: StreamOptions = .plain) {
    self.init(target: target, options)
  }
}

extension StreamOptions {
  /// No attention to the host's free space.
  static let plain = StreamOptions(start: .on)

  init(
    start: Start, base: String = "", backingFile: String? = nil, onError: ErrorPolicy = .enospc,
    minimumFree: MinimumFree = .bytes(0), speed: ByteCount = 0
  ) {
    self.init()
    self.start = start
    self.base = Array(base.utf8)
    self.backingFile = backingFile.map { Array($0.utf8) }
    self.onError = onError
    self.minimumFree = minimumFree
    self.speed = speed
  }
}

extension Result where Failure == StreamError {
  var code: StreamError.Code? {
    if case .failure(let error) = self { error.code } else { nil }
  }
}
