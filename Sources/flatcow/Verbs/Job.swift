import ArgumentParser
import HostStorage
import StreamJob

/// The argument that most verbs have.
struct Mountpoint: ParsableArguments {
  @Argument(help: ArgumentHelp("Where a flatcow is mounted.", valueName: "mountpoint"))
  var path: String

  func tree() throws(CommandError) -> MountedTree { try MountedTree(at: path) }
}

struct Stream: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Starts the stream job, or resumes a paused one.")
  @OptionGroup var mountpoint: Mountpoint
  @Option(help: "The layer where streaming stops; it stays. An empty one: the whole chain is flattened.")
  var base: String?
  @Option(help: "Bytes per second, with an optional K, M, G or T; 0 is unlimited.")
  var speed: String?

  func run() throws {
    let tree = try mountpoint.tree()
    if let base { try tree.write(base, to: .base) }
    if let speed { try tree.setSpeed(speed) }
    switch try tree.jobStatus().state {
    case .running, .pending, .finishing: return
    case .idle, .paused, .completed, .failed, .cancelled: try tree.write("running", to: .state)
    }
  }
}

struct Pause: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Pauses the stream job; the disk is served as before.")
  @OptionGroup var mountpoint: Mountpoint

  func run() throws {
    let tree = try mountpoint.tree()
    switch try tree.jobStatus().state {
    case .paused: return
    case .running, .pending, .finishing: try tree.write("paused", to: .state)
    case .idle, .completed, .failed, .cancelled: throw tree.noJob
    }
  }
}

struct Resume: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Lets a paused stream job go on.")
  @OptionGroup var mountpoint: Mountpoint

  func run() throws {
    let tree = try mountpoint.tree()
    switch try tree.jobStatus().state {
    case .paused: try tree.write("running", to: .state)
    case .running, .pending, .finishing: return
    case .idle, .completed, .failed, .cancelled: throw tree.noJob
    }
  }
}

struct Cancel: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Ends the stream job; what it has copied stays, and the chain is as it was.")
  @OptionGroup var mountpoint: Mountpoint

  func run() throws {
    let tree = try mountpoint.tree()
    if try tree.jobStatus().state.hasJob { try tree.write("cancelled", to: .state) }
  }
}

struct Speed: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Limits how fast the stream job copies.")
  @OptionGroup var mountpoint: Mountpoint
  @Argument(help: "Bytes per second, with an optional K, M, G or T; 0 is unlimited.")
  var rate: String

  func run() throws { try mountpoint.tree().setSpeed(rate) }
}

struct Wait: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Waits until everything is copied or the job has ended.",
    discussion: "Exits with 3 when the job failed or was paused by an error, with 4 when the time is over.")
  @OptionGroup var mountpoint: Mountpoint
  @Option(help: ArgumentHelp("How long at most.", valueName: "seconds"))
  var timeout: Int?

  func run() throws {
    var watch = try JobWatch(mountpoint.tree())
    let last = try watch.follow(timeout: timeout) { (status: JobStatus) throws(CommandError) in
      switch status.state {
      case .idle, .pending, .completed, .failed, .cancelled: status
      case .paused: status.isPausedByError ? status : nil
      case .running, .finishing: nil
      }
    }
    if last.isStopped { throw CommandError(.failed, last.error) }
  }
}

extension MountedTree {
  /// What a verb says that needs a job where there is none.
  fileprivate var noJob: CommandError {
    CommandError(.failed, "\(mountpoint): there is no stream job; `flatcow stream \(mountpoint)` starts one")
  }

  fileprivate func setSpeed(_ text: String) throws(CommandError) {
    guard let rate = SizeText.parse(text) else {
      throw CommandError(.usage, "\(text): a rate is a whole number with an optional K, M, G or T, as in 50M")
    }
    try write(String(rate.bytes), to: .speed)
  }
}
