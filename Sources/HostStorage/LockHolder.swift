import Glibc

/// Who holds a lock: the kernel does not say it of these locks (F_GETLK gives process -1), but lists them for every
/// descriptor under /proc, as `lock: 1: OFDLCK ADVISORY READ -1 fe:00:12 100 101`.
enum LockHolder {
  /// The command and the process that hold one of `bytes` of the file behind `descriptor`, which must hold a lock
  /// itself: its own entry tells the file as /proc writes it. Nil where that may not be read.
  static func find(against bytes: [Int], on descriptor: Int32) -> String? {
    let own = getpid()
    guard let file = locks(process: own, descriptor: descriptor).first?.file else { return nil }
    let holders = Syscall.names(inDirectory: "/proc").compactMap(pid_t.init).filter { process in
      Syscall.names(inDirectory: "/proc/\(process)/fdinfo").compactMap(Int32.init).contains { other in
        (process != own || other != descriptor)
          && locks(process: process, descriptor: other).contains { lock in
            lock.file == file && bytes.contains { lock.bytes.contains($0) }
          }
      }
    }
    // Until it executes its program, a child has its parent's descriptors.
    let holder = holders.first { !holders.contains(parent(of: $0)) } ?? holders.first
    return holder.map { "held by \(command(of: $0)), process \($0)" }
  }

  /// 0 where it cannot be read. The command's name, in parentheses before it, may hold anything.
  private static func parent(of process: pid_t) -> pid_t {
    let fields = contents("/proc/\(process)/stat").split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 1 ? pid_t(fields[1]) ?? 0 : 0
  }

  private struct HeldLock {
    /// Device and inode, as /proc writes them.
    var file: Substring
    var bytes: ClosedRange<Int>

    init?(line: Substring) {
      let fields = line.split { $0 == " " || $0 == "\t" }
      guard fields.count == 9, fields[0] == "lock:", let first = Int(fields[7]) else { return nil }
      let last = Int(fields[8]) ?? Int.max
      guard first <= last else { return nil }
      file = fields[6]
      bytes = first...last
    }
  }

  private static func locks(process: pid_t, descriptor: Int32) -> [HeldLock] {
    contents("/proc/\(process)/fdinfo/\(descriptor)").split(separator: "\n").compactMap(HeldLock.init)
  }

  private static func command(of process: pid_t) -> String {
    printable(Array(contents("/proc/\(process)/comm").utf8.prefix { $0 != UInt8(ascii: "\n") }))
  }

  /// The first 64 KiB of a file; empty where it cannot be read.
  private static func contents(_ path: String) -> String {
    guard let number = try? Syscall.open(Array(path.utf8), O_RDONLY) else { return "" }
    let descriptor = OwnedDescriptor(number)
    let bytes = try? [UInt8](capacity: 1 << 16) { (output: inout OutputSpan<UInt8>) throws(Errno) in
      while output.freeCapacity > 0 {
        let count = output.freeCapacity
        if try Syscall.read(descriptor.number, count, at: output.count, into: &output) == 0 { break }
      }
    }
    return String(decoding: bytes ?? [], as: UTF8.self)
  }
}
