import HostStorage
import StreamJob

/// What a mount is asked to be: the options of `-o` and `/etc/flatcow.conf`, checked one by one. Nothing here has been
/// looked at on the host yet.
struct MountOptions: Sendable {
  var isReadOnly = false

  var job = StreamOptions()

  // The disk.
  var cache = CacheMode.writeback
  var discard = DiscardMode.unmap
  /// nil: as many as suit the machine.
  var threads: Int?
  /// How long a write-back waits for host space.
  var noSpaceTimeout = Duration.seconds(60)

  // The chain.
  var locksImages = true
  var format: String?
  /// Formats of the layers that record none, top down.
  var backingFormats: [String] = []
  var backingRoots: [String] = []
  var trustsChain = false
  var omitsBacking = false
  var allowsDataFile = false
  var allowsBlockDevices = false
  var maxDepth = 256
  var dropsBitmaps = false

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

/// What a discard does beside making the range read as zeros: give its space back, or not.
enum DiscardMode: String, CaseIterable, Sendable { case unmap, ignore }
