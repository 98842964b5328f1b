/// How a file system is mounted.
package struct MountOptions: Sendable {
  /// The source that /proc/mounts shows.
  package var source: String
  /// The type that /proc/mounts shows is `fuse.` and this.
  package var subtype: String
  package var isReadOnly: Bool
  /// Whether other users than the one who mounts may look; permission bits decide the rest.
  package var allowsOthers: Bool
  /// Whether the kernel may collect writes in its page cache and send them later.
  package var usesWriteback: Bool
  /// An SELinux context for every file, as mount(8) takes it: in quotes when it holds a comma.
  package var context: String?

  package init(
    source: String, subtype: String = "flatcow", isReadOnly: Bool = false, allowsOthers: Bool = false,
    usesWriteback: Bool = true, context: String? = nil
  ) {
    self.source = source
    self.subtype = subtype
    self.isReadOnly = isReadOnly
    self.allowsOthers = allowsOthers
    self.usesWriteback = usesWriteback
    self.context = context
  }

  /// The text of `-o`. The kernel checks permissions (`default_permissions`), and nothing in the tree can be a
  /// program or a device. There is no `max_read`: it would have to be said twice, and libfuse's own limit, 256
  /// pages, is what the kernel allows anyway.
  var text: String {
    var list = ["default_permissions", "nosuid", "nodev", "noexec"]
    list.append("fsname=" + Self.escaped(source))
    list.append("subtype=" + Self.escaped(subtype))
    if isReadOnly { list.append("ro") }
    if allowsOthers { list.append("allow_other") }
    if let context { list.append("context=" + Self.escaped(context)) }
    return list.joined(separator: ",")
  }

  /// libfuse splits at commas and takes a backslash for an escape.
  private static func escaped(_ value: String) -> String {
    var text = ""
    for character in value {
      if character == "," || character == "\\" { text.append("\\") }
      text.append(character)
    }
    return text
  }
}
