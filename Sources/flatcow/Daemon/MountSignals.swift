import DiskExport
import Glibc
import HostStorage
import Logging
import StreamJob

/// What a mount does when it gets a signal. SIGTERM and SIGINT end it, the second of them without waiting for the last
/// close; SIGHUP reads the configuration's speed again; SIGUSR1 asks for a line of progress.
struct MountSignals: Sendable {
  private static let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR1]

  let disk: MountedDisk
  let mountpoint: String
  let ending: Ending

  /// To be called before the process has other threads.
  static func hold() { HostSignals.hold(signals) }

  /// Waits for signals on a thread of its own, for as long as the process lives.
  func start() throws(CommandError) {
    do {
      try HostThread.start(name: "flatcow-signals") { wait() }
    } catch {
      throw CommandError(error)
    }
  }

  private func wait() {
    var isEnding = false
    while true {
      switch HostSignals.wait(for: Self.signals) {
      case SIGHUP: readSpeed()
      case SIGUSR1: logProgress()
      case _ where isEnding: giveUp()
      default:
        isEnding = true
        // The unmount takes as long as the kernel's dirty pages do; signals are heard meanwhile.
        _ = try? HostThread.start(name: "flatcow-end") { disk.end() }
      }
    }
  }

  private func readSpeed() {
    do throws(CommandError) {
      if let speed = try Configuration.speed() { disk.job.setSpeed(speed) }
    } catch {
      ending.log.error("\(error.sentence)")
    }
  }

  private func logProgress() {
    let status = disk.job.status
    ending.log.notice(
      """
      \(mountpoint): \(status.state.rawValue), \(SizeText.print(status.done)) of \(SizeText.print(status.total)), \
      \(SizeText.print(status.remaining)) to copy
      """)
  }

  /// What is open is lost to whoever has it open; what was written is made durable.
  private func giveUp() -> Never {
    exit(ending.tell(disk.giveUp()).code)
  }
}
