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
  func unmount(lazily: Bool) throws(CommandError) {
    if lazily { return try detach(lazily: true) }
    // Looked at before the unmount: afterwards the mount can't be asked any more.
    let status = try? read(.status)
    let process = status.flatMap(daemon).flatMap(WatchedProcess.init(id:))
    try detach(lazily: false)
    guard let process else {
      throw CommandError(
        .failed,
        """
        \(mountpoint): unmounted, but the flatcow behind it had died; what was not flushed is lost, \
        `flatcow check \(image)` tells whether clusters leaked
        """)
    }
    _ = process.hasEnded(within: -1)
    let wasLost = status?.contains(/"durability"\s*:\s*"lost"/) ?? false
    if wasLost || process.exitCode ?? 0 != 0 {
      throw CommandError(
        .failed, "\(image): unmounted, but not all of it is durable; the system's log says what was lost")
    }
  }

  /// The process that serves the mount.
  private func daemon(in status: String) -> Int32? {
    status.firstMatch(of: /"pid"\s*:\s*([0-9]+)/).flatMap { Int32($0.1) }
  }

  private func detach(lazily: Bool) throws(CommandError) {
    do {
      try HostMounts.unmount(mountpoint, lazily: lazily)
    } catch {
      switch error.errno {
      case EBUSY: throw busy
      case EPERM: try detachByHelper(lazily: lazily)
      default: throw CommandError(error)
      }
    }
  }

  /// The setuid program by which a plain user unmounts what is his. Its place is looked for: services have no PATH.
  private func detachByHelper(lazily: Bool) throws(CommandError) {
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
    if code != 0 { throw CommandError(.environment, "\(mountpoint): \(helper) could not unmount it") }
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
