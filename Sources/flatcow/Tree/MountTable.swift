import HostStorage

/// One line of `/proc/self/mountinfo` (see proc(5)).
struct MountEntry: Equatable, Sendable {
  var mountpoint: String
  var type: String
  var source: String
  /// Major and minor number of the file system: "0:40".
  var device = ""
}

/// What is mounted on this host, as this process sees it.
enum MountTable {
  /// The mounts of flatcow, in the order in which they were made; where another mount hides one, it is left out.
  static func flatcowMounts() throws(CommandError) -> [MountEntry] {
    let entries: [MountEntry]
    do {
      entries = try parse(TextFile.read("/proc/self/mountinfo"))
    } catch {
      throw CommandError(.environment, "\(error); is /proc mounted?")
    }
    return visible(entries).filter { $0.type == "fuse.flatcow" }
  }

  /// Of several mounts at one place only the last is seen.
  static func visible(_ entries: [MountEntry]) -> [MountEntry] {
    entries.indices.filter { index in
      !entries[(index + 1)...].contains { $0.mountpoint == entries[index].mountpoint }
    }.map { entries[$0] }
  }

  static func parse(_ text: String) -> [MountEntry] {
    text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count >= 5, let dash = fields.firstIndex(of: "-"), fields.count > dash + 2 else { return nil }
      return MountEntry(
        mountpoint: unescaped(fields[4]), type: unescaped(fields[dash + 1]), source: unescaped(fields[dash + 2]),
        device: String(fields[2]))
    }
  }

  /// The kernel writes white space and backslashes as three octal digits.
  private static func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = field.utf8[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
