import DiskExport
import HostStorage
import Logging

/// The end of a mount's process: how it went is told in the log, to those who wait in `flatcow umount`, and by the exit code.
struct Ending: Sendable {
  let pidFile: String?
  let log: Logger
  private let word: LastWord

  /// From now on others can wait for the end of the mount at `mountpoint` (nil: of one that somebody else has mounted).
  init(mountpoint: String?, pidFile: String?, log: Logger) throws(CommandError) {
    self.pidFile = pidFile
    self.log = log
    let mount = try MountTable.flatcowMounts().last { $0.mountpoint == mountpoint }
    do {
      word = try LastWord(about: mount?.subject ?? "")
    } catch {
      throw CommandError(error)
    }
  }

  /// The last thing that the process does. Returns the exit code.
  func tell(_ outcome: MountedDisk.Outcome) -> Outcome {
    if let pidFile { TextFile.remove(pidFile) }
    let words = LastWords(outcome)
    if let loss = words.loss { log.error("\(loss)") }
    word.say(words.text)
    return words.loss == nil ? .done : .failed
  }
}
