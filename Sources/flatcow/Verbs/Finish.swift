import ArgumentParser
import Glibc
import HostStorage
import StreamJob

struct Finish: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Completes the stream: records the backing file and lets go of the layers that are no longer needed.",
    discussion: """
      Returns when all is durable; only then may a layer be deleted. Ctrl-C and --timeout withdraw it, and nothing has \
      changed, unless the header is just being written.
      """)
  @OptionGroup var mountpoint: Mountpoint
  @Argument(help: "The string to record; without it the mount works it out.")
  var backingFile: String = ""
  @Flag(help: "Have it done as soon as everything is copied, and return at once.")
  var noWait = false
  @Option(help: ArgumentHelp("How long at most.", valueName: "seconds"))
  var timeout: Int?
  @Flag(help: "Record a string although it does not lead to the base from here.")
  var unchecked = false

  func run() throws {
    let tree = try mountpoint.tree()
    if !backingFile.isEmpty && !unchecked { try tree.checkLeadsToBase(backingFile) }
    if noWait {
      try tree.arm(backingFile)
    } else {
      try complete(tree)
    }
  }

  /// The write to `control` returns when the completion is done; until then a person sees how far it is.
  private func complete(_ tree: MountedTree) throws(CommandError) {
    let patience = Patience(seconds: timeout)
    var watch = try JobWatch(tree)
    let (line, control) = ("\(backingFile)\n", tree.path(of: .control))
    let call: InterruptibleCall<StorageError>
    do {
      call = try InterruptibleCall { () throws(StorageError) in try TextFile.write(line, to: control) }
    } catch {
      throw CommandError(error)
    }
    do throws(CommandError) {
      while true {
        if let result = call.outcome(within: .milliseconds(250)) { return try tree.judge(result) }
        try patience.check()
        _ = try watch.look()
      }
    } catch {
      guard error.outcome == .interrupted || error.outcome == .timedOut else { throw error }
      try tree.judge(call.interrupt(), withdrawal: error)
    }
  }
}

extension MountedTree {
  /// `withdrawal` is what asked for the write to be given up; the true outcome counts all the same.
  fileprivate func judge(_ result: Result<Void, StorageError>, withdrawal: CommandError? = nil) throws(CommandError) {
    guard case .failure(let error) = result else { return }
    if error.errno == EINTR {
      let why = withdrawal?.sentence ?? "interrupted"
      throw CommandError(withdrawal?.outcome ?? .interrupted, "\(why): withdrawn; nothing was completed")
    }
    if error.errno == EBUSY, let state = try? jobStatus().state, state == .paused {
      throw CommandError(.failed, "the stream job is paused; `flatcow resume \(mountpoint)` first")
    }
    throw failure(error, .failed)
  }

  /// Has the completion done as soon as it can be.
  fileprivate func arm(_ backingFile: String) throws(CommandError) {
    do {
      try TextFile.write(backingFile + "\n", to: path(of: .control), waiting: false)
    } catch {
      throw failure(error, .failed)
    }
  }

  /// With a base set, the mount records any string; one that leads elsewhere from the active layer's directory is
  /// probably a mistake, and the image would not open again.
  fileprivate func checkLeadsToBase(_ string: String) throws(CommandError) {
    let base = try read(.base)
    if base.isEmpty { return }
    let layers = try read(.chain).split(separator: "\n").compactMap { line in
      line.split(separator: " ", maxSplits: 3).dropFirst(3).first.map(String.init)
    }
    func identity(_ name: String, besides layer: String) -> StorageIdentity? {
      let directory = layer.lastIndex(of: "/").map { layer[..<$0] } ?? ""
      return try? LocatedFile(Array((name.hasPrefix("/") ? name : "\(directory)/\(name)").utf8)).identity
    }
    guard let top = layers.first, let target = identity(string, besides: top),
      layers.contains(where: { identity(base, besides: $0) == target })
    else {
      throw CommandError(
        .failed,
        """
        \(string): from the active layer's directory this does not lead to the base, \(base); \
        add --unchecked to record it all the same
        """)
    }
  }
}
