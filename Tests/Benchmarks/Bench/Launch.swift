import Foundation

/// How each server is started on a disk.
struct Launch {
  let disk: Disk
  let place: String
  let use: Use
  let tools: Tools
  let log: FileHandle

  func flatcow() throws -> ChildProcess {
    let options = "stream=off,min-free=0" + (use == .reading ? ",ro" : "")
    return try start([tools.flatcow, "mount", "-f", "-o", options, disk.path(disk.top), place])
  }

  func bareServer() throws -> ChildProcess {
    try start([tools.forwardingServer, disk.path(disk.raw), place])
  }

  /// With QEMU's own defaults of cache and aio: through the host's page cache, by threads. Its job takes no writable
  /// export beside it, but an image that may be written.
  func storageDaemon() throws -> (ChildProcess, QMPClient?) {
    let access = use == .reading ? "read-only=on" : "read-only=off"
    var arguments = [
      tools.storageDaemon, "--blockdev", "driver=file,node-name=file,filename=\(disk.path(disk.top)),\(access)",
      "--blockdev", "driver=qcow2,node-name=top,file=file,\(access)",
    ]
    if use != .jobAlone {
      let writable = use == .readingAndWriting ? "on" : "off"
      let export = "type=fuse,id=export,node-name=top,mountpoint=\(place),writable=\(writable),growable=off"
      arguments += ["--export", export]
    }
    guard use.hasJob else { return (try start(arguments), nil) }
    let client = try QMPClient(arguments, log: log)
    return (client.process, client)
  }

  func nbdServer() throws -> ChildProcess {
    let access = use == .reading ? ["--read-only"] : []
    return try start(
      ["qemu-nbd", "--persistent", "--shared=16", "-f", "qcow2", "-k", socket] + access + [disk.path(disk.top)])
  }

  /// Its overlay is a temporary file, with blocks of 64 KiB as in a qcow2 image.
  func copyOnWriteServer() throws -> ChildProcess {
    try start(
      ["nbdkit", "-f", "-U", socket, "--filter=cow", "file", disk.path(disk.raw)],
      environment: ["TMPDIR": disk.directory.path])
  }

  /// `server` is one that listens on the socket.
  func behindNbdfuse(_ server: ChildProcess) throws -> (ChildProcess, ChildProcess) {
    while !FileManager.default.fileExists(atPath: socket), server.exitCode == nil { usleep(1000) }
    return (
      server, try start(["nbdfuse"] + (use == .reading ? ["-r"] : []) + [place, "nbd+unix:///?socket=\(socket)"])
    )
  }

  /// Of this run of the server: the one before may have left its own.
  private let name = UUID().uuidString.prefix(8)
  private var socket: String { disk.path("nbd-\(name)") }

  private func start(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
    try ChildProcess(arguments, environment: environment, output: log, errors: log)
  }
}
