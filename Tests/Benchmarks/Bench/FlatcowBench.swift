import ArgumentParser
import Foundation

@main
struct FlatcowBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flatcow-bench",
    abstract: "Measures flatcow beside its peers, in turn, on images of the same history.")

  @Option(help: "Only rows whose names begin with one of these words.")
  var only: [String] = []

  @Option(help: "How often each program is measured.")
  var rounds = 5

  @Option(help: "Another qemu-storage-daemon.")
  var qsd: String?

  @Option(help: "Where the images are made: 16 GiB, on a disk. A directory of its own is made in it.")
  var directory = "/var/tmp"

  @Option(help: "The page that keeps the table of a whole run.")
  var document: String?

  @Option(help: "Draws plots into this directory instead.")
  var plots: String?

  @Flag(help: "Lists the rows.")
  var list = false

  mutating func run() throws {
    let rows = Workloads.all.filter { row in only.isEmpty || only.contains { row.name.hasPrefix($0) } }
    if list {
      for row in rows { print(row.name) }
      return
    }
    let cleanup = Cleanup()
    try cleanup.guardAgainstSignals()
    defer { cleanup.undoAll() }
    let bench = try makeBench(cleanup)
    if let plots { return try draw(into: URL(filePath: plots), bench) }
    let comparisons = measure(rows, bench)
    let table = Table(comparisons, hasOtherStorageDaemon: qsd != nil)
    print(table.plain)
    if let document, only.isEmpty {
      let page = Document(file: URL(filePath: document))
      try page.write(table, on: Machine(bench), rounds: rounds, notes: bench.notes)
    }
  }

  private func makeBench(_ cleanup: Cleanup) throws -> Bench {
    let place = URL(filePath: directory).appending(path: "flatcow-bench-\(ProcessInfo.processInfo.processIdentifier)")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: false)
    _ = cleanup.add { _ = try? Program.run("rm", "-rf", "--one-file-system", place.path) }
    let kind = try Program.run("stat", "-f", "-c", "%T", place.path)
    if kind == "tmpfs" { throw ValidationError("\(directory) is in memory; --directory names one on a disk.") }
    let free = try Program.run("df", "--output=avail", "-B1G", place.path).split(separator: "\n").last ?? ""
    if let gibibytes = Int(free.trimmingCharacters(in: .whitespaces)), gibibytes < 16 {
      throw ValidationError("\(directory) has \(gibibytes) GiB free; it takes 16.")
    }
    var tools = Tools()
    if let qsd { tools.storageDaemon = qsd }
    return try Bench(tools: tools, rounds: rounds, directory: place, cleanup: cleanup)
  }

  private func measure(_ rows: [any Workload], _ bench: Bench) -> [Comparison] {
    rows.flatMap { row in
      bench.say("Measuring: \(row.name)")
      do {
        var found: [Comparison] = []
        let time = try seconds { found = try row.measure(bench) }
        bench.say("\(row.name) took \(Unit.seconds.text(time))")
        bench.say(Table(found, hasOtherStorageDaemon: qsd != nil).plain)
        return found
      } catch {
        bench.note("Without \(row.name): \(error)")
        return []
      }
    }
  }

  private func draw(into directory: URL, _ bench: Bench) throws {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    for (name, plot) in try PlotMeasurements(bench: bench).all() {
      try plot.svg.write(to: directory.appending(path: "\(name).svg"), atomically: true, encoding: .utf8)
    }
  }
}
