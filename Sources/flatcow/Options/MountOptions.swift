import HostStorage

/// What a mount is asked to be: the options of `-o` and `/etc/flatcow.conf`, checked one by one. Nothing here has been
/// looked at on the host yet.
struct MountOptions: Equatable, Sendable {
  var isReadOnly = false

  // The stream job.
  var stream = StreamStart.on
  var base: String?
  /// The backing-file string with which the job completes by itself; nil: somebody will say it.
  var backingFile: String?
  /// Per second; 0 is unlimited.
  var speed: ByteCount = 0
  var onError = ErrorAction.enospc
  var minFree = MinimumFree.percent(5)

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

/// Whether a job runs from the start.
enum StreamStart: String, CaseIterable, Sendable { case on, paused, off }

/// What the job does about an error.
enum ErrorAction: String, CaseIterable, Sendable { case report, ignore, enospc, stop }

enum CacheMode: String, CaseIterable, Sendable { case writeback, none }

enum DiscardMode: String, CaseIterable, Sendable { case unmap, ignore }

/// How much space the job leaves free below the active layer.
enum MinimumFree: Equatable, Sendable {
  case bytes(ByteCount)
  case percent(Int)
}
