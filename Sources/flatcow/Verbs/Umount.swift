import ArgumentParser
import Glibc
import HostStorage

struct Umount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Unmounts, and returns when the image is durable, clean and unlocked.")
  @OptionGroup var mountpoint: Mountpoint
  @Flag(help: "Return at once: what is open stays usable, and the image is in use until the last close.")
  var lazy = false

  func run() throws { try mountpoint.tree().unmount(lazily: lazy) }
}

extension MountedTree {
  /// Returns when the process behind the mount has ended and has said that all is durable; lazily, at once.
  func unmount(lazily: Bool) throws(CommandError) {
    if lazily {
      _ = try detach(lazily: true)
      return
    }
    // Before the unmount: whoever ends without a word can't be found afterwards.
    let awaited = Result { () throws(CommandError) in try awaitedWords() }
    let wasMounted = try detach(lazily: false)
    if !wasMounted, case .failure = awaited {
      throw CommandError(.environment, "\(mountpoint): another umount was quicker; that one tells how it ended")
    }
    for word in try awaited.get() {
      guard let said = word.wait() else { throw died }
      if let loss = LastWords(said).loss { throw notDurable(loss) }
    }
  }

  /// What the process behind the mount will say. It is looked for among the processes, without asking the mount, which may
  /// hang; a mount that was adopted (`/dev/fd/N`) knows its own process only.
  private func awaitedWords() throws(CommandError) -> [AwaitedWord] {
    let all = AwaitedWord.all()
    let known = all.filter { $0.subject == subject && [owner, 0].contains($0.owner) }
    if !known.isEmpty { return known }
    let process: Int32?
    do {
      process = try TextFile.read(path(of: .status)).firstMatch(of: /"pid"\s*:\s*([0-9]+)/).flatMap { Int32($0.1) }
    } catch  where [ENOTCONN, ECONNABORTED].contains(error.errno) {
      throw died
    } catch {
      process = nil
    }
    let adopted = all.filter { $0.subject.isEmpty && $0.process == process }
    guard adopted.isEmpty else { return adopted }
    throw CommandError(
      .failed,
      """
      \(mountpoint): unmounted, but the process behind it cannot be seen from here (it belongs to another user or \
      container); its log tells whether all of \(image) is durable
      """)
  }

  private var died: CommandError { notDurable("the flatcow behind it has died, and what was not synced is lost") }

  private func notDurable(_ reason: String) -> CommandError {
    CommandError(
      .failed,
      "\(image): unmounted, but not all of it is durable: \(reason); `flatcow check` tells whether the image is sound")
  }

  /// False where another umount was quicker.
  private func detach(lazily: Bool) throws(CommandError) -> Bool {
    do {
      try HostMounts.unmount(mountpoint, lazily: lazily)
      return true
    } catch {
      guard try isMounted else { return false }
      switch error.errno {
      case EBUSY: throw busy
      case EPERM: return try detachByHelper(lazily: lazily)
      default: throw CommandError(error)
      }
    }
  }

  /// The setuid program by which a plain user unmounts what is his. Its place is looked for: services have no PATH.
  private func detachByHelper(lazily: Bool) throws(CommandError) -> Bool {
    let places = ["/usr/bin", "/bin", "/usr/local/bin", "/sbin"].map { "\($0)/fusermount3" }
    guard let helper = places.first(where: { resolved($0) != nil }) else {
      throw CommandError(
        .environment, "\(mountpoint): only root can unmount without fusermount3; install the package fuse3")
    }
    if !lazily, !HostMounts.users(of: mountpoint).isEmpty { throw busy }
    let code: Int32
    do {
      code = try HostProcess.run(helper, ["-u"] + (lazily ? ["-z"] : []) + ["--", mountpoint])
    } catch {
      throw CommandError(error)
    }
    if code == 0 { return true }
    guard try isMounted else { return false }
    throw CommandError(.environment, "\(mountpoint): \(helper) could not unmount it")
  }

  private var busy: CommandError {
    let users = HostMounts.users(of: mountpoint)
    let who =
      users.isEmpty
      ? "a process that you may not see, or a mount or loop device over it" : users.joined(separator: ", ")
    return CommandError(
      .environment,
      "\(mountpoint): in use by \(who); close it, or `flatcow umount --lazy \(mountpoint)` lets go when they are done")
  }
}
