import HostStorage

/// One line of `/proc/self/mountinfo` (see proc(5)).
struct MountEntry: Equatable, Sendable {
  var mountpoint: String
  var type: String
  var source: String
  /// Major and minor number of the file system: "0:40".
  var device = ""
  /// The user who has mounted it, as the file system itself says.
  var owner: UInt32 = 0
  /// What of the file system is seen there: "/", or the file or directory that was bound to the place.
  var root = "/"

  /// What the last word of the process behind the mount is about. A number of a device comes to mean a later mount while the
  /// process of an earlier one is still at its end.
  var subject: String { "\(device) \(source.replacing("\n", with: " "))" }
}

/// What is mounted on this host, as this process sees it.
enum MountTable {
  /// The mounts of flatcow, in the order in which they were made. Left out is one that another mount hides, and a single
  /// file of a mount that was bound to another place.
  static func flatcowMounts() throws(CommandError) -> [MountEntry] {
    let entries: [MountEntry]
    do {
      entries = try parse(TextFile.read("/proc/self/mountinfo"))
    } catch {
      throw CommandError(.environment, "\(error); is /proc mounted?")
    }
    return visible(entries).filter { $0.type == "fuse.flatcow" && $0.root == "/" }
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
        device: String(fields[2]), owner: owner(in: fields[dash...]), root: unescaped(fields[3]))
    }
  }

  /// What stands behind the type and the source are the file system's own options.
  private static func owner(in fields: ArraySlice<Substring>) -> UInt32 {
    let options = fields.dropFirst(3).first?.split(separator: ",") ?? []
    return options.compactMap { $0.hasPrefix("user_id=") ? UInt32($0.dropFirst(8)) : nil }.first ?? 0
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
