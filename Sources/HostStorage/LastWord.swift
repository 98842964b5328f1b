import CLinux
import Glibc
import Synchronization

/// What a process says at its end, kept in memory that it holds open. Whoever has found it before can wait for the end and
/// read it; a process that was killed has said nothing. Neither needs the other's help, nor a parent, a place in a file
/// system or a network.
package final class LastWord: Sendable {
  /// What the link of the descriptor in /proc is called.
  fileprivate static let name = "flatcow-end"
  private let descriptor: OwnedDescriptor
  private let isSaid = Atomic<Bool>(false)

  /// `subject`, one line, is what others look for.
  package init(about subject: String) throws(StorageError) {
    descriptor = OwnedDescriptor(Self.makeFile())
    // The lock goes with the open file description, when nothing of the process is left that could still speak.
    guard descriptor.number >= 0, fchmod(descriptor.number, 0o400) == 0, flatcow_lock(descriptor.number, LOCK_EX) == 0
    else {
      throw StorageError(errno: errno, operation: "make", path: "a file in memory")
    }
    append("\(subject)\n")
  }

  /// Says it; whatever comes after the first is not heard. It should be the last that the process does.
  package func say(_ words: String) {
    if isSaid.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged { append(words) }
  }

  /// Kernels that have a rule for executable memory warn where nothing is said of it; those before Linux 6.3 know no such flag.
  private static func makeFile() -> Int32 {
    let flags = UInt32(FLATCOW_MFD_CLOEXEC)
    let file = unsafe flatcow_memory_file(name, flags | UInt32(FLATCOW_MFD_NOEXEC_SEAL))
    return file < 0 && errno == EINVAL ? unsafe flatcow_memory_file(name, flags) : file
  }

  private func append(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(descriptor.number, $0.baseAddress, $0.count) }
  }
}

/// The last word of another process, to be waited for.
package final class AwaitedWord: Sendable {
  /// As this process's /proc calls it.
  package let process: Int32
  /// The user who has made it, and who may be anybody.
  package let owner: UInt32
  package let subject: String
  private let descriptor: OwnedDescriptor

  /// Those of all processes into which the caller may look: its own user's, or for root everybody's.
  package static func all() -> [AwaitedWord] {
    Syscall.names(inDirectory: "/proc").compactMap { Int32($0) }.flatMap { process in
      Syscall.names(inDirectory: "/proc/\(process)/fd").compactMap { AwaitedWord(process, descriptor: $0) }
    }
  }

  private init?(_ process: Int32, descriptor number: String) {
    let link = Array("/proc/\(process)/fd/\(number)".utf8)
    guard (try? Syscall.readLink(link)) == Array("/memfd:\(LastWord.name) (deleted)".utf8),
      let opened = try? Syscall.open(link, O_RDONLY)
    else { return nil }
    // An open file description of its own: the lock is the other's.
    descriptor = OwnedDescriptor(opened)
    guard let status = try? Syscall.status(opened) else { return nil }
    owner = status.st_uid
    self.process = process
    subject = String(Self.text(of: opened).prefix { $0 != "\n" })
  }

  /// Waits until the process has ended. nil: it ended without a word.
  package func wait() -> String? {
    while flatcow_lock(descriptor.number, LOCK_SH) != 0, errno == EINTR {}
    let words = Self.text(of: descriptor.number).dropFirst(subject.count + 1)
    return words.isEmpty ? nil : String(words)
  }

  private static func text(of descriptor: Int32) -> String {
    let bytes = try? [UInt8](capacity: 1 << 16) { (output: inout OutputSpan<UInt8>) throws(Errno) in
      while try Syscall.read(descriptor, output.freeCapacity, at: output.count, into: &output) > 0 {}
    }
    return String(decoding: bytes ?? [], as: UTF8.self)
  }
}
