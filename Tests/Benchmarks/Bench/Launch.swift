import Foundation

/// How each server is started on a disk.
struct Launch {
  let disk: Disk
  let place: String
  let options: ExportOptions
  let tools: Tools
  let log: FileHandle

  func flatcow() throws -> ChildProcess {
    let access = options.isWritable ? "" : ",ro"
    return try start([tools.flatcow, "mount", "-f", "-o", options.mountOptions + access, disk.path(disk.top), place])
  }

  func bareServer() throws -> ChildProcess {
    try start([tools.forwardingServer, disk.path(disk.raw), place])
  }

  /// With QEMU's own defaults of cache and aio: through the host's page cache, by threads.
  func storageDaemon() throws -> (ChildProcess, QMPClient?) {
    let export =
      "type=fuse,id=export,node-name=top,mountpoint=\(place),writable=\(options.isWritable ? "on" : "off"),growable=off"
    // What a job works on has to be writable, though the export be not.
    let access = options.isWritable || options.hasMonitor ? "read-only=off" : "read-only=on"
    var arguments = [
      tools.storageDaemon, "--blockdev", "driver=file,node-name=file,filename=\(disk.path(disk.top)),\(access)",
      "--blockdev", "driver=qcow2,node-name=top,file=file,\(access)",
    ]
    if !options.isHidden { arguments += ["--export", export] }
    guard options.hasMonitor else { return (try start(arguments), nil) }
    let client = try QMPClient(arguments, log: log)
    return (client.process, client)
  }

  func nbdServer() throws -> ChildProcess {
    try start(["qemu-nbd", "--persistent", "--shared=16", "-f", "qcow2", "-k", socket, disk.path(disk.top)])
  }

  /// Its overlay is a temporary file, with blocks of 64 KiB as in a qcow2 image.
  func copyOnWriteServer() throws -> ChildProcess {
    try start(
      ["nbdkit", "-f", "-U", socket, "--filter=cow", "file", disk.path(disk.raw)],
      environment: ["TMPDIR": disk.directory.path])
  }

  func behindNbdfuse(_ server: ChildProcess) throws -> (ChildProcess, ChildProcess) {
    while !FileManager.default.fileExists(atPath: socket), server.exitCode == nil { usleep(1000) }
    return (server, try start(["nbdfuse", place, "nbd+unix:///?socket=\(socket)"]))
  }

  private var socket: String { "\(place)-socket" }

  private func start(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
    try ChildProcess(arguments, environment: environment, output: log, errors: log)
  }
}
