import BackingChain
import DiskExport
import FUSESession
import Glibc
import HostStorage
import Logging
import StreamJob

/// What a mount is asked to be.
struct MountRequest {
  let image: String
  /// Absolute, or `/dev/fd/N` for a connection that somebody else has mounted.
  let place: String
  let options: MountOptions
  let pidFile: String?
  /// Nobody sees stderr once the mount answers.
  let isDaemon: Bool

  init(image: String, mountpoint: String, options: MountOptions, pidFile: String?, isDaemon: Bool) {
    self.image = image
    place = mountpoint.hasPrefix("/dev/fd/") ? mountpoint : absolute(mountpoint)
    self.options = options
    self.pidFile = pidFile.map(absolute)
    self.isDaemon = isDaemon
  }
}

/// The process behind a mount, from the opening of the images to the end.
struct MountService {
  private let request: MountRequest
  private let chain: BackingChain
  private let disk: MountedDisk
  private let ending: Ending

  /// Opens the images and mounts them: from the return on the mount answers, as soon as `serve` is called.
  init(_ request: MountRequest) throws(CommandError) {
    MountSignals.hold()
    // Before any thread is started. Without the privilege the mount works all the same.
    HostProcess.shareHeaps()
    HostProcess.becomeIOFlusher()
    self.request = request
    try request.clearDeadMount()
    // Afterwards it would be asked of the mount itself, which does not answer yet.
    let mountpoint = resolved(request.place)
    let opened = try request.openChain()
    for note in opened.notes { printNote(note) }
    let log = request.makeLog()
    chain = BackingChain(layers: opened.layers, active: opened.active)
    do {
      // A daemon was started as /proc/self/exe, and would be called "exe" where somebody asks who holds an image.
      HostThread.nameCurrent("flatcow")
      let source = request.options.sourceName ?? opened.layers[0].path
      disk = try MountedDisk(chain: chain, options: request.exportOptions(source: source, log: log))
    } catch {
      try? chain.close()
      throw CommandError(.environment, "\(error.path): cannot mount \(request.image) here: \(error.reason)")
    }
    if let mountpoint { DirtyPages.allowMore(at: mountpoint) }
    ending = try Ending(mountpoint: mountpoint, pidFile: request.pidFile, log: log)
    try writePidFile()
    try MountSignals(disk: disk, mountpoint: request.place, ending: ending).start()
    announce()
  }

  /// Returns when the mount has ended, all that can be is durable, and that was told.
  func serve() -> Outcome { ending.tell(disk.run()) }

  private func writePidFile() throws(CommandError) {
    guard let pidFile = request.pidFile else { return }
    do {
      try TextFile.create(pidFile, "\(getpid())\n")
    } catch {
      throw CommandError(error)
    }
  }

  /// Says what will be copied, and how to stop it.
  private func announce() {
    let status = disk.job.status
    let place = request.place
    let layers = chain.snapshot.layers
    let sentence: String? =
      switch status.state {
      case .idle where layers.count == 1 || !chain.isWritable: nil
      case .idle: "nothing is copied; `flatcow stream \(place)` starts it"
      case .failed: "the disk is served, but the stream job cannot start: \(status.error)"
      default:
        """
        up to \(SizeText.print(status.remaining)) are copied into \(layers[0].path) while the disk is in use\
        \(status.base.map { "; \($0) stays" } ?? ""); `flatcow pause \(place)` or `flatcow cancel \(place)` stops that, \
        `flatcow finish \(place)` completes it
        """
      }
    if let sentence { StandardStream.output.write("\(place): \(sentence)\n") }
  }
}

extension MountRequest {
  /// A mount whose process has died answers nothing and blocks the directory. One of the same image is taken away.
  fileprivate func clearDeadMount() throws(CommandError) {
    guard let mount = try MountTable.flatcowMounts().last(where: { $0.mountpoint == place }) else { return }
    let tree = MountedTree(mount)
    do {
      _ = try TextFile.read(tree.path(of: .state))
    } catch {
      guard error.errno == ENOTCONN, mount.source == resolved(image) else { throw tree.failure(error) }
      return try tree.unmount(lazily: true)
    }
    throw CommandError(
      .environment, "\(place): \(mount.source) is mounted here already; `flatcow umount \(place)` first")
  }

  fileprivate func openChain() throws(CommandError) -> OpenedChain {
    var chain = options.chain
    chain.mountpoint = place
    do {
      return try ChainOpener.open(path: image, options: chain)
    } catch {
      throw CommandError(.environment, error.message)
    }
  }

  fileprivate func exportOptions(source: String, log: Logger) -> ExportOptions {
    var export = ExportOptions(mountPoint: place, source: source) { log.warning("\($0)") }
    export.job = options.job
    export.cachesPages = options.cache == .writeback
    export.discards = options.chain.discardsToHost
    if let threads = options.threads { export.threads = threads }
    export.noSpaceTimeout = options.noSpaceTimeout
    export.owner = options.owner
    export.group = options.group
    export.permissions = options.mode
    export.allowsOthers = options.allowsOthers
    export.context = options.securityContext
    return export
  }

  fileprivate func makeLog() -> Logger {
    let isDaemon = isDaemon
    LoggingSystem.bootstrap { label -> any LogHandler in
      if isDaemon { SyslogHandler() } else { StreamLogHandler.standardError(label: label) }
    }
    return Logger(label: "flatcow")
  }
}
