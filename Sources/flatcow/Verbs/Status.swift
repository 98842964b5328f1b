import ArgumentParser
import HostStorage
import StreamJob

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Shows a mount and its stream job.")
  @OptionGroup var mountpoint: Mountpoint
  @Flag(help: "Everything, as one JSON object.")
  var json = false
  @Flag(help: "A progress bar with rate and time left, until everything is copied or the job has ended.")
  var watch = false

  func validate() throws {
    if json && watch { throw ValidationError("--json and --watch exclude each other") }
  }

  func run() throws {
    let tree = try mountpoint.tree()
    if json { return print(try tree.read(.status)) }
    if watch {
      var watch = try JobWatch(tree)
      return try watch.follow(timeout: nil) { (status: JobStatus) throws(CommandError) in
        [.running, .paused, .finishing].contains(status.state) ? nil : ()
      }
    }
    print(try tree.summary())
  }
}

extension MountedTree {
  fileprivate func summary() throws(CommandError) -> String {
    let status = try jobStatus()
    let base = try read(.base)
    let rate = SizeText.parse(try read(.speed)).flatMap { $0.bytes > 0 ? SizeText.print($0) + "/s" : nil }
    var lines = [
      "\(image) on \(mountpoint)",
      "  state     \(status.state.rawValue): \(status.headline)",
      "  progress  \(SizeText.print(status.done)) of \(SizeText.print(status.total)), "
        + "\(SizeText.print(status.remaining)) to copy",
      "  base      \(base.isEmpty ? "none: the whole chain is flattened" : base)",
      "  speed     \(rate ?? "unlimited")",
    ]
    if let durability = try durabilityWord(), durability != "ok" { lines.append("  durability \(durability)") }
    if !status.error.isEmpty { lines.append("  error     \(status.error)") }
    return lines.joined(separator: "\n")
  }

  private func durabilityWord() throws(CommandError) -> Substring? {
    try read(.status).firstMatch(of: /"durability"\s*:\s*"(\w+)"/)?.1
  }
}
