import CFUSE
import Glibc

extension FUSESession {
  /// Asks the kernel to unmount, and returns when it has. `run` must be serving meanwhile: this is when the last
  /// dirty pages arrive.
  ///
  /// `.busy` when somebody uses the file system. With `lazy` it leaves the name space at once, and is served
  /// until the last user is gone.
  package func unmount(lazy: Bool = false) throws(FUSESessionError) {
    if mountPoint.hasPrefix("/dev/fd/") {
      throw FUSESessionError(
        .unmount, errno: ENOTSUP, path: mountPoint, reason: "only the program that mounted it can unmount it")
    }
    if geteuid() != 0 { return try unmountByHelper(lazy: lazy) }
    let flags = Int32(UMOUNT_NOFOLLOW) | (lazy ? Int32(MNT_DETACH) : 0)
    guard unsafe umount2(mountPoint, flags) == 0 else { throw unmountError(errno: errno) }
  }

  /// A connection that was aborted (fusectl) leaves a mount on which every access fails; nobody else would
  /// take it away.
  func detachIfAborted() {
    var status = stat()
    guard unsafe stat(mountPoint, &status) != 0, errno == ENOTCONN else { return }
    try? unmount(lazy: true)
  }

  static func words(for code: Int32) -> String { unsafe String(cString: strerror(code)) }

  private func unmountError(errno code: Int32) -> FUSESessionError {
    FUSESessionError(
      code == EBUSY ? .busy : .unmount, errno: code, path: mountPoint, reason: Self.words(for: code))
  }

  /// fusermount3 may unmount what its user has mounted. It tells the cause in words only, in English always.
  private func unmountByHelper(lazy: Bool) throws(FUSESessionError) {
    let arguments = ["fusermount3", lazy ? "-uz" : "-u", "--", mountPoint]
    guard let (status, words) = HelperProgram.run(["/usr/bin/fusermount3", "fusermount3"], arguments) else {
      throw FUSESessionError(.unmount, errno: ENOENT, path: mountPoint, reason: "fusermount3 cannot be started")
    }
    if status == 0 { return }
    if words.contains("busy") { throw unmountError(errno: EBUSY) }
    throw FUSESessionError(.unmount, path: mountPoint, reason: words)
  }
}
