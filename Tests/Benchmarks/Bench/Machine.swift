import Foundation

/// What the figures were measured on.
struct Machine {
  /// Name and value of each line.
  let lines: [(name: String, value: String)]

  init(_ bench: Bench) {
    let tools = bench.tools
    lines = [
      (
        "processor", "\(Self.field("model name", of: "/proc/cpuinfo")), \(ProcessInfo.processInfo.processorCount) cores"
      ),
      ("memory", "\(ProcessInfo.processInfo.physicalMemory >> 20) MiB"),
      ("kernel", Self.ask("uname", "-srm")),
      ("file system", Self.ask("findmnt", "-no", "FSTYPE,OPTIONS", "-T", bench.directory.path)),
      (
        "flatcow",
        "\(Self.ask(tools.flatcow, "--version")), commit \(Self.ask("git", "describe", "--always", "--dirty"))"
      ),
      ("QEMU", Self.ask(tools.storageDaemon, "--version")),
      ("nbdkit, libnbd", "\(Self.ask("nbdkit", "--version")), \(Self.ask("nbdfuse", "--version"))"),
      ("libfuse", Self.ask("fusermount3", "--version")),
      ("fio", Self.ask("fio", "--version")),
    ]
  }

  /// The first line that a program answers; "none" where there is no such program.
  private static func ask(_ words: String...) -> String {
    let answer = (try? Program.run(words))?.split(separator: "\n").first.map(String.init)
    return answer.map { $0.split(separator: " ").joined(separator: " ") } ?? "none"
  }

  private static func field(_ name: String, of file: String) -> String {
    let lines = (try? String(contentsOfFile: file, encoding: .utf8))?.split(separator: "\n") ?? []
    let line = lines.first { $0.hasPrefix(name) }
    return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
  }
}
