package import HostStorage

/// How a job is set up when the disk is mounted.
package struct StreamOptions: Sendable {
  /// What the mount begins with.
  package enum Start: String, CaseIterable, Sendable { case on, paused, off }

  package var start = Start.on
  /// A layer's name as for `stream/base`; empty: flatten all.
  package var base: [UInt8] = []
  /// Completes by itself with this line as soon as everything is copied; the empty line has the string worked out.
  package var backingFile: [UInt8]?
  /// Bytes per second; 0: unlimited.
  package var speed: ByteCount = 0
  package var onError = ErrorPolicy.enospc
  package var minimumFree = MinimumFree.percent(5)
  /// Ranges in flight. Two keep a host's disk busy while the other's metadata is worked on; more only take the guest's
  /// bandwidth.
  package var workers = 2

  package init() {}
}
