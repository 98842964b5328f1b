package import StreamJob

/// How a chain is mounted.
package struct ExportOptions: Sendable {
  /// The directory on which the tree appears.
  package var mountPoint: String
  /// What /proc/mounts shows as the source: the image.
  package var source: String
  package var job = StreamOptions()
  /// Whether the kernel may keep the disk's pages and write them later; if not, every read and write comes here.
  package var cachesPages = true
  /// Whether a hole that is punched gives its space back.
  package var discards = true
  /// How many requests are worked on at a time. The default leaves some for `control` and `status.json` when every
  /// queue of a guest or two waits for a base that hangs.
  package var threads = 512
  /// How long a write-back waits for host space before it is lost.
  package var noSpaceTimeout: Duration = .seconds(60)
  /// The owner, group and permissions of `disk`; nil: the mount's owner, and 0600 or 0400.
  package var owner: UInt32?
  package var group: UInt32?
  package var permissions: UInt32?
  package var allowsOthers = false
  /// An SELinux context.
  package var context: String?
  /// Takes a sentence for the log; called by any thread.
  package var log: @Sendable (String) -> Void

  package init(mountPoint: String, source: String, log: @escaping @Sendable (String) -> Void) {
    self.mountPoint = mountPoint
    self.source = source
    self.log = log
  }
}
