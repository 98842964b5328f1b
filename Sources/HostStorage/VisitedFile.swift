import CLinux
import Glibc

/// A file in a mount that this process serves, opened as its users open it; by a thread that has taken descriptors of its
/// own first.
///
/// Only the kernel knows which of its pages are dirty, and it is asked through the file. Whoever asks waits for answers of
/// this process, and cannot be killed meanwhile: one that kept /dev/fuse open would keep the mount of a dead process alive
/// and itself waiting, for ever. Without it the connection ends with the other threads, and so does the wait.
package final class VisitedFile {
  private let descriptor: OwnedDescriptor
  private let path: String

  /// Gives the calling thread descriptors of its own: none but the standard three. False where the kernel cannot (before
  /// Linux 5.9).
  package static func takeOwnDescriptors() -> Bool { flatcow_unshare_descriptors(3) == 0 }

  /// As the kernel numbers threads, for whoever asks which one a request came from.
  package static var threadID: Int32 { flatcow_thread_id() }

  /// Opens a file that exists, for reading and writing. It is the caller's to find out that it is the one which it means.
  package init(_ path: String) throws(StorageError) {
    self.path = path
    do throws(Errno) {
      descriptor = OwnedDescriptor(try Syscall.open(Array(path.utf8), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY))
    } catch {
      throw StorageError(errno: error.code, operation: "open", path: path)
    }
  }

  /// Returns when what was dirty of the pages in `range` has been written; nobody's wait for the inode is in the way.
  package func writeBack(_ range: HostRange) throws(StorageError) {
    do throws(Errno) {
      try Syscall.writeBack(descriptor.number, range)
    } catch {
      throw StorageError(errno: error.code, operation: "write back", path: path)
    }
  }

  /// Sets the size.
  package func resize(to size: ByteCount) throws(StorageError) {
    do throws(Errno) {
      try Syscall.truncate(descriptor.number, to: size.bytes)
    } catch {
      throw StorageError(errno: error.code, operation: "resize", path: path)
    }
  }
}

/// Whether a thread of any process has a file named `name`, whose inode number is `inode`, open at `position` or
/// further on. False where the host does not let it be seen.
package func hasFileOpen(_ name: String, inode: UInt64, from position: HostOffset, thread: Int32) -> Bool {
  Syscall.names(inDirectory: "/proc/\(thread)/fdinfo").contains { number in
    guard let place = symbolicLink(at: Array("/proc/\(thread)/fd/\(number)".utf8)),
      String(decoding: place, as: UTF8.self).hasSuffix("/\(name)"),
      let text = try? TextFile.read("/proc/\(thread)/fdinfo/\(number)")
    else { return false }
    let fields = text.split(separator: "\n").map { $0.split { $0 == ":" || $0.isWhitespace } }
    func field(_ name: String) -> Int? { fields.first { $0.first == name[...] }?.last.flatMap { Int($0) } }
    return field("pos").map { $0 >= position.bytes } ?? false && field("ino").map { $0 == Int(inode) } ?? true
  }
}
