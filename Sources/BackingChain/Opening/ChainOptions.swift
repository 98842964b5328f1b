package import HostStorage

/// How a chain is opened: the part of the `-o` options that concerns it.
package struct ChainOptions: Sendable {
  /// The active image's format; nil goes by its name and its magic (see `ChainOpener`).
  package var format: String?
  /// Formats of the layers that have none recorded, top down.
  package var backingFormats: [String] = []
  /// Directories, beside an image's own, in which the files that it names may lie.
  package var backingRoots: [String] = []
  /// Names found inside images may lead anywhere.
  package var trustsChain = false
  /// The active image alone: what it has not is read as zeros. Implies reading only.
  package var ignoresBacking = false
  package var allowsDataFile = false
  /// Names found inside images may be those of block devices.
  package var allowsBlockDevices = false
  /// The most layers; QEMU has none, and a chain of some thousand takes all of a process's descriptors.
  package var maxDepth = 256
  package var isReadOnly = false
  package var locks = true
  /// Persistent dirty bitmaps of the active image are freed rather than a reason to refuse writing.
  package var dropsBitmaps = false
  /// Discarded space goes back to the host.
  package var discardsToHost = true
  /// About the most memory for the L2 tables of all layers together, and room for 16 of the largest; those that wait for a
  /// flush come on top.
  package var cacheLimit: ByteCount = ByteCount(16 << 20)
  /// Where the chain is about to be mounted: no layer may lie there.
  package var mountpoint: String?

  package init() {}

  var opensReadOnly: Bool { isReadOnly || ignoresBacking }
}
