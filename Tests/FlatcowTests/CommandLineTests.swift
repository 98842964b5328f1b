import Foundation
import TestSupport
import Testing

/// The built command, run as a shell would.
@Suite struct CommandLineTests {
  static let flatcow = ExternalProgram(
    URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "flatcow")
      .path)

  @Test func helpIsNoError() throws {
    let ended = try Self.flatcow.run("--help")
    #expect(ended.succeeded && ended.output.contains("finish"))
  }

  @Test(arguments: [
    ["status"], ["speed", "/"], ["wait", "/", "--timeout", "x"], ["status", "/", "--json", "--watch"], ["nonsense"],
  ])
  func wrongArgumentsAreAUsageError(arguments: [String]) throws {
    let ended = try Self.flatcow.run(arguments)
    #expect(ended.status == 1 && ended.output.hasPrefix("flatcow: "))
  }

  @Test(arguments: ["status", "finish", "stream", "pause", "resume", "cancel", "wait", "umount"])
  func whereNothingIsMountedVerbsChangeNothing(verb: String) throws {
    let directory = try TemporaryDirectory()
    let ended = try Self.flatcow.run(verb, directory.url.path)
    #expect(ended.status == 2 && ended.output.contains(directory.url.path))
    #expect(ended.output.split(separator: "\n").count == 1)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.url.path).isEmpty)
  }

  @Test(arguments: [["nowhere.qcow2", "/"], ["/dev/null", "/"], ["/etc/passwd", "/", "-o", "format=vhd"]])
  func whatCannotBeMountedIsSaidInOneSentence(arguments: [String]) throws {
    let ended = try Self.flatcow.run(["mount"] + arguments)
    #expect(ended.status == 2 && ended.output.hasPrefix("flatcow: "))
    #expect(ended.output.split(separator: "\n").count == 1, "\(ended.output)")
  }

  @Test func listAndMetricsWorkOnAnyHost() throws {
    #expect(try Self.flatcow.run("list").succeeded)
    let metrics = try Self.flatcow.run("metrics")
    #expect(metrics.succeeded && metrics.output.hasPrefix("# HELP flatcow_up "))
  }
}
