import CLinux
import Glibc

/// What the host's mounts need of the kernel beyond reading `/proc/self/mountinfo`.
package enum HostMounts {
  /// Unmounts what is mounted last at `mountpoint`. `lazily`: at once, while files in it stay usable until they are
  /// closed. EBUSY where something is open in it; EPERM for those who have to ask fusermount3.
  package static func unmount(_ mountpoint: String, lazily: Bool) throws(StorageError) {
    let flags = lazily ? Int32(MNT_DETACH) : 0
    if unsafe umount2(mountpoint, flags | FLATCOW_UMOUNT_NOFOLLOW) != 0 {
      throw StorageError(errno: errno, operation: "unmount", path: mountpoint)
    }
  }

  /// The working directory; "/" where it is gone.
  package static var workingDirectory: String {
    guard let path = unsafe getcwd(nil, 0) else { return "/" }
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }

  /// The other processes that have a file below `directory` open, or stand in it, as far as the caller may see: "bash
  /// (812)".
  package static func users(of directory: String) -> [String] {
    let others = Syscall.names(inDirectory: "/proc").filter { $0.allSatisfy(\.isNumber) && $0 != "\(getpid())" }
    return others.compactMap { process in
      let descriptors = Syscall.names(inDirectory: "/proc/\(process)/fd").map { "/proc/\(process)/fd/\($0)" }
      let isUser = (descriptors + ["/proc/\(process)/cwd"]).contains { link in
        let place = String(decoding: (try? Syscall.readLink(Array(link.utf8))) ?? [], as: UTF8.self)
        return place == directory || place.hasPrefix(directory + "/")
      }
      guard isUser else { return nil }
      let name = (try? TextFile.read("/proc/\(process)/comm")) ?? ""
      return "\(name.split(separator: "\n").first ?? "a process") (\(process))"
    }
  }
}
