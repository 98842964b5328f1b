import BackingChain
import StreamJob

/// What a mount is asked to be: the options of `-o` and `/etc/flatcow.conf`, checked one by one. Nothing here has been
/// looked at on the host yet.
struct MountOptions: Sendable {
  var chain = ChainOptions()
  var job = StreamOptions()

  // The disk.
  var cache = CacheMode.writeback
  /// nil: as many as suit the machine.
  var threads: Int?
  /// How long a write-back waits for host space.
  var noSpaceTimeout = Duration.seconds(60)

  // The mount.
  var owner: UInt32?
  var group: UInt32?
  var mode: UInt32?
  var allowsOthers = false
  var sourceName: String?
  var securityContext: String?
}

/// Whether the kernel may keep the disk's pages and write them later.
enum CacheMode: String, CaseIterable, Sendable { case writeback, none }
