// flatcow: the command.
//
// Arguments, logging, the start of the daemon, signals; nothing else. Verbs that act on a mounted tree do it through
// the files of the tree, so that they need nothing from the process behind it but what any shell has.
import ArgumentParser
import Glibc
import HostStorage

@main struct Flatcow: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mounts a disk-image chain as one flat raw file and streams its backing layers into the active one.",
    discussion:
      "Exits with 0 done, 1 usage, 2 environment, 3 the job or the check failed, 4 timed out, 130 interrupted.",
    version: "0.1.0",
    subcommands: [
      Mount.self, Umount.self, Stream.self, Status.self, Finish.self, Pause.self, Resume.self, Cancel.self, Speed.self,
      Wait.self, List.self, MetricsVerb.self, Chain.self, Map.self, Check.self, Create.self,
    ])

  static func main() {
    HostProcess.openStandardDescriptors()
    HostSignals.startAfresh()
    let name = CommandLine.arguments.first.map { String($0.split(separator: "/").last ?? "") } ?? ""
    let arguments = Array(CommandLine.arguments.dropFirst())
    Glibc.exit((MountCall.run(as: name, arguments) ?? run(arguments)).code)
  }

  /// Runs a verb, and says what went wrong.
  static func run(_ arguments: [String]) -> Outcome {
    do {
      var verb = try parseAsRoot(withVerb(arguments))
      try verb.run()
      return .done
    } catch let code as ExitCode {
      return Outcome(code: code.rawValue)
    } catch let error as CommandError {
      printNote(error.sentence)
      return error.outcome
    } catch {
      if exitCode(for: error).isSuccess {
        print(fullMessage(for: error))
        return .done
      }
      printNote("\(message(for: error)); `flatcow --help` tells more")
      return .usage
    }
  }

  /// `flatcow IMAGE MOUNTPOINT -o …` mounts too: it is how `mount -t fuse.flatcow` calls it.
  static func withVerb(_ arguments: [String]) -> [String] {
    let verbs = configuration.subcommands.map { $0._commandName } + ["help"]
    guard arguments.count > 1, let first = arguments.first, !verbs.contains(first) else { return arguments }
    let isOption = first.hasPrefix("-") && !["-o", "-r", "-f"].contains(String(first.prefix(2)))
    return isOption ? arguments : ["mount"] + arguments
  }
}
