import Foundation
import Glibc

/// A disk that a peer offers as a file, until it is stopped.
final class Export {
  let peer: Peer
  /// The file that guests use.
  let file: String
  /// Where flatcow's tree is.
  let mountpoint: String
  /// The process that works on the images.
  let server: ChildProcess?
  /// How to talk to the storage daemon.
  private(set) var monitor: QMPClient?

  /// From starting the programs on.
  private(set) var secondsToFirstByte = 0.0

  private let bench: Bench
  private let helper: ChildProcess?
  private let undo: Cleanup.Token?

  /// Returns when the first byte can be read.
  init(_ peer: Peer, of disk: Disk, in bench: Bench, for use: Use = .readingAndWriting) throws {
    (self.peer, self.bench) = (peer, bench)
    let place = try Self.makePlace(for: peer, beside: disk)
    mountpoint = place
    let start = ContinuousClock.now
    let launch = Launch(disk: disk, place: place, use: use, tools: bench.tools, log: bench.log)
    let processes: (server: ChildProcess?, helper: ChildProcess?)
    switch peer {
    case .flatcow:
      file = "\(place)/disk"
      processes = (try launch.flatcow(), nil)
    case .bareServer:
      file = "\(place)/disk"
      processes = (try launch.bareServer(), nil)
    case .storageDaemon:
      file = use == .jobAlone ? disk.path(disk.top) : place
      let (daemon, client) = try launch.storageDaemon()
      monitor = client
      processes = (daemon, nil)
    case .networkBlockDevice:
      file = place
      processes = try launch.behindNbdfuse(launch.nbdServer())
    case .copyOnWrite:
      file = place
      processes = try launch.behindNbdfuse(launch.copyOnWriteServer())
    case .plainFile:
      file = disk.path(disk.raw)
      processes = (nil, nil)
    }
    (server, helper) = processes
    let numbers = [processes.helper, processes.server].compactMap { $0?.id }
    undo = numbers.isEmpty ? nil : bench.cleanup.add { Self.abandon(place, numbers) }
    try awaitFirstByte()
    secondsToFirstByte = (ContinuousClock.now - start) / .seconds(1)
  }

  /// Ends it in order: what was written is in the images then.
  func stop() throws {
    defer { abandon() }
    switch peer {
    case .flatcow: try Program.run(bench.tools.flatcow, "umount", mountpoint)
    case .plainFile: return
    case .storageDaemon: server?.send(SIGTERM)
    case .bareServer: try Program.run("umount", mountpoint)
    case .networkBlockDevice, .copyOnWrite:
      try Program.run("umount", mountpoint)
      helper?.wait()
      server?.send(SIGTERM)
    }
    server?.wait()
  }

  /// The most memory that the server has used so far, in MiB.
  func peakMemory() throws -> Double {
    guard let server else { return .nan }
    let status = try String(contentsOfFile: "/proc/\(server.id)/status", encoding: .utf8)
    guard let line = status.firstMatch(of: /VmHWM:\s+(\d+) kB/), let kibibytes = Double(line.1) else { return .nan }
    return kibibytes / 1024
  }

  /// As stopping, but whatever the state: nobody's data counts any more.
  func abandon() {
    guard let undo else { return }
    let numbers = [helper, server].compactMap { $0 }.filter { $0.exitCode == nil }.map(\.id)
    Self.abandon(mountpoint, numbers)
    helper?.wait()
    server?.wait()
    bench.cleanup.remove(undo)
  }

  private static func abandon(_ place: String, _ processes: [Int32]) {
    _ = try? Program.run("umount", "-l", place)
    for process in processes { kill(process, SIGKILL) }
  }

  /// A directory for those that mount a tree, a file for those that mount a file.
  private static func makePlace(for peer: Peer, beside disk: Disk) throws -> String {
    let place = disk.path("mnt-\(peer)-\(disk.top)")
    let isTree = peer == .flatcow || peer == .bareServer
    try Program.shell(isTree ? #"mkdir -p "$1""# : #": >"$1""#, place)
    return place
  }

  private func awaitFirstByte() throws {
    while true {
      if let handle = FileHandle(forReadingAtPath: file), let byte = try? handle.read(upToCount: 1), !byte.isEmpty {
        return
      }
      if let code = server?.exitCode ?? helper?.exitCode {
        abandon()
        let words = (try? String(contentsOf: bench.logFile, encoding: .utf8))?.split(separator: "\n").last ?? ""
        throw BenchError("\(peer.rawValue) ended (\(code)): \(words)")
      }
      usleep(200)
    }
  }
}
