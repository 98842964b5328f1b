import ArgumentParser
import Foundation

@main
struct FlatcowBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flatcow-bench",
    abstract: "Measures flatcow beside its peers, in turn, on images of the same history.")

  @Option(help: "Only rows whose names contain one of these words.")
  var only: [String] = []

  @Option(help: "How often each program is measured.")
  var rounds = 5

  @Option(help: "Another qemu-storage-daemon.")
  var qsd: String?

  @Option(help: "Where the images are made: 10 GiB, on a disk. A directory of its own is made in it.")
  var directory = "/var/tmp"

  @Flag(help: "Lists the rows.")
  var list = false

  mutating func run() throws {
    let rows = Workloads.all.filter { row in only.isEmpty || only.contains { row.name.contains($0) } }
    if list {
      for row in rows { print(row.name) }
      return
    }
    let cleanup = Cleanup()
    try cleanup.guardAgainstSignals()
    defer { cleanup.undoAll() }
    let place = URL(filePath: directory).appending(path: "flatcow-bench-\(ProcessInfo.processInfo.processIdentifier)")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    _ = cleanup.add { _ = try? Program.run("rm", "-rf", "--one-file-system", place.path) }
    var tools = Tools()
    if let qsd { tools.storageDaemon = qsd }
    let bench = try Bench(tools: tools, rounds: rounds, directory: place, cleanup: cleanup)

    var comparisons: [Comparison] = []
    for row in rows {
      bench.say("Measuring: \(row.name)")
      let found = try row.measure(bench)
      print(Table(found, hasOtherStorageDaemon: qsd != nil).plain)
      comparisons += found
    }
    print("\n" + Table(comparisons, hasOtherStorageDaemon: qsd != nil).plain)
  }
}
