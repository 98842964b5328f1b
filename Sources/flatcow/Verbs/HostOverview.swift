import ArgumentParser
import StreamJob

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Lists the mounts of this host.")

  func run() throws {
    for (mount, status) in Survey.ask(
      try MountTable.flatcowMounts(), { tree throws(CommandError) in try tree.jobStatus() })
    {
      let state = status.map { "\($0.state.rawValue) \(Int($0.fraction * 100)) %" } ?? "does not answer"
      print("\(mount.source) on \(mount.mountpoint): \(state)")
    }
  }
}

struct MetricsVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics", abstract: "Prints the metrics of all mounts of this host, for Prometheus.")

  func run() throws {
    var metrics = Metrics()
    for (mount, page) in Survey.ask(
      try MountTable.flatcowMounts(), { tree throws(CommandError) in try tree.read(.metrics) })
    {
      metrics.add(page: page, mountpoint: mount.mountpoint)
    }
    print(metrics.text, terminator: "")
  }
}
