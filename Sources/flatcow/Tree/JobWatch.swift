import Glibc
import HostStorage
import StreamJob

/// Follows a job and shows it on stderr: on a terminal one line that is drawn again and again, elsewhere a line
/// whenever the state or the percentage changed.
struct JobWatch: ~Copyable {
  let tree: MountedTree
  private let state: WatchedText
  private var line = ProgressLine()
  private let started = ContinuousClock.now
  private let isTerminal = StandardStream.error.isTerminal
  private var shown = (state: JobState.idle, percent: -1)
  private var isLineOpen = false

  init(_ tree: MountedTree) throws(CommandError) {
    self.tree = tree
    do {
      state = try WatchedText(tree.path(of: .state))
    } catch {
      throw tree.failure(error)
    }
  }

  /// Looks once, and shows what is seen.
  mutating func look() throws(CommandError) -> JobStatus {
    // A change is reported until this very descriptor has read past it.
    _ = try? state.read()
    let status = try tree.jobStatus()
    let text = line.text(for: status, at: .now - started)
    if isTerminal {
      StandardStream.error.write("\r\u{1B}[K\(text)")
      isLineOpen = true
    } else if shown != (status.state, Int(status.fraction * 100)) {
      StandardStream.error.write("\(text)\n")
    }
    shown = (status.state, Int(status.fraction * 100))
    return status
  }

  /// Looks until `answer` has one. Ctrl-C ends it, and so do `timeout` seconds.
  mutating func follow<Answer>(
    timeout: Int?, until answer: (JobStatus) throws(CommandError) -> Answer?
  ) throws(CommandError) -> Answer {
    let patience = Patience(seconds: timeout)
    while true {
      if let answer = try answer(look()) { return answer }
      try patience.check()
      state.waitForChange(milliseconds: 250)
    }
  }

  deinit {
    if isLineOpen { StandardStream.error.write("\n") }
  }
}

/// How long a verb waits for a job: until a person interrupts it or its time is over.
struct Patience {
  private let interrupts: [Int32]
  private let deadline: ContinuousClock.Instant?

  /// Takes the signals that end it over.
  init(seconds: Int?) {
    interrupts = [SIGINT, SIGTERM, SIGHUP].filter { !HostSignals.isIgnored($0) }
    HostSignals.hold(interrupts)
    deadline = seconds.map { .now + .seconds($0) }
  }

  func check() throws(CommandError) {
    if HostSignals.wait(for: interrupts, atMost: .zero) != nil {
      throw CommandError(.interrupted, "interrupted")
    }
    if let deadline, .now >= deadline { throw CommandError(.timedOut, "the time is over") }
  }
}
