/// Whoever offers a disk as a file.
enum Peer: String, CaseIterable {
  case flatcow
  case storageDaemon = "qemu-storage-daemon"
  case networkBlockDevice = "qemu-nbd + nbdfuse"
  case copyOnWrite = "nbdkit cow + nbdfuse"
  case bareServer = "bare FUSE server"
  case plainFile = "plain file"

  /// Of the programs that it takes, those that the host does not have.
  func missingPrograms(_ tools: Tools) -> [String] {
    let programs =
      switch self {
      case .flatcow: [tools.flatcow]
      case .storageDaemon: [tools.storageDaemon]
      case .networkBlockDevice: ["qemu-nbd", "nbdfuse"]
      case .copyOnWrite: ["nbdkit", "nbdfuse"]
      case .bareServer: [tools.forwardingServer]
      case .plainFile: [String]()
      }
    return programs.filter { !Program.exists($0) }
  }

  /// Whether it is given the raw file, and not the images.
  var servesRaw: Bool { self == .copyOnWrite || isLimit }
  /// Whether it does nothing but pass the bytes on.
  var isLimit: Bool { self == .bareServer || self == .plainFile }
}

/// The programs that are measured.
struct Tools {
  var flatcow = "flatcow"
  var forwardingServer = "forwarding-server"
  var storageDaemon = "qemu-storage-daemon"
}

/// What a disk is exported for.
enum Use {
  case readingAndWriting
  case reading
  /// A job, and a guest that reads.
  case jobAndReading
  /// A job that has the images for itself.
  case jobAlone

  var hasJob: Bool { self == .jobAndReading || self == .jobAlone }
}
