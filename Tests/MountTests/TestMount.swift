import BackingChain
import DiskExport
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// Real mounts need a /dev/fuse that this user may open.
let canMount = unsafe access("/dev/fuse", R_OK | W_OK) == 0

/// An image that is mounted and served by this process for the life of this object.
final class TestMount: Sendable {
  let disk: MountedDisk
  let path: String
  /// What the mount had logged.
  let log = Monitor<[String]>([])
  private let directory: TemporaryDirectory
  private let outcome = Monitor<MountedDisk.Outcome?>(nil)

  /// Mounts the image at `image`. The job is off unless `configure` says otherwise.
  convenience init(
    _ image: String, chain options: ChainOptions = ChainOptions(), configure: (inout ExportOptions) -> Void = { _ in }
  ) throws {
    let opened = try ChainOpener.open(path: image, options: options)
    try self.init(
      BackingChain(layers: opened.layers, active: opened.active), source: image, configure: configure)
  }

  init(_ chain: BackingChain, source: String, configure: (inout ExportOptions) -> Void) throws {
    directory = try TemporaryDirectory()
    path = directory.path
    var options = ExportOptions(mountPoint: path, source: source) { [log] line in log.withLock { $0.append(line) } }
    options.job.start = .off
    options.job.minimumFree = .bytes(0)
    configure(&options)
    disk = try MountedDisk(chain: chain, options: options)
    try HostThread.start(name: "serve") { [disk, outcome] in
      let result = disk.run()
      outcome.withLock { $0 = result }
    }
  }

  /// What a test still has open is served until it lets go.
  deinit { disk.end() }

  func path(_ name: String) -> String { "\(path)/\(name)" }

  func text(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }

  /// Ends the mount as SIGTERM does, and waits until the chain is closed. Nothing may be open in it.
  func end() throws -> MountedDisk.Outcome {
    disk.end()
    return try awaitEnd()
  }

  /// Waits until the chain is closed.
  func awaitEnd() throws -> MountedDisk.Outcome {
    try #require(outcome.wait(deadline: .now + .seconds(30)) { $0 }, "something is still open in the mount")
  }

  /// Whether the chain is closed.
  var hasEnded: Bool { outcome.read { $0 != nil } }
}

/// Runs a line of shell, with `$MNT` as the mount; its exit status and output.
func shell(_ line: String, in mount: TestMount) throws -> ExternalProgram.Outcome {
  try ExternalProgram("env").run("MNT=\(mount.path)", "sh", "-c", line)
}

extension MountedDisk.Outcome {
  var isClean: Bool {
    if case .clean = self { true } else { false }
  }
}
