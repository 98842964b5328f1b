import CLinux
import Glibc

/// The file that a name led to, held but not opened: what is judged by place and kind is the very file that
/// `FileStorage` then opens, whatever happens to the name in between. Looking has no effect on a device or a FIFO.
package struct LocatedFile: ~Copyable {
  /// The name that was followed, made fit to show.
  package let path: String
  /// Where it led: absolute, without links. Ends in " (deleted)" where the file was unlinked.
  package let resolvedPath: [UInt8]
  package let identity: StorageIdentity
  package let kind: Kind

  /// What a storage may be, and all else: directories, FIFOs, sockets, character devices.
  package enum Kind: Sendable {
    case regular
    case blockDevice
    case other
  }

  private let descriptor: OwnedDescriptor

  /// Follows `name`, bytes without a NUL, from the current directory.
  package init(_ name: [UInt8]) throws(StorageError) {
    let path = String(decoding: name, as: UTF8.self)
    do throws(Errno) {
      try self.init(OwnedDescriptor(Syscall.open(name, FLATCOW_O_PATH)), path: path)
    } catch {
      throw StorageError(errno: error.code, operation: "open", path: path)
    }
  }

  private init(_ descriptor: consuming OwnedDescriptor, path: String) throws(Errno) {
    // Which file it is does not change, and its server may hang.
    let status = try Syscall.knownStatus(descriptor.number)
    resolvedPath = try Syscall.readLink(Array("/proc/self/fd/\(descriptor.number)".utf8))
    identity = StorageIdentity(status)
    kind = Kind(status)
    self.path = path
    self.descriptor = descriptor
  }

  func open(_ flags: Int32) throws(Errno) -> OwnedDescriptor {
    OwnedDescriptor(try Syscall.open(Array("/proc/self/fd/\(descriptor.number)".utf8), flags))
  }
}

extension LocatedFile.Kind {
  init(_ status: stat) {
    self =
      switch status.st_mode & S_IFMT {
      case S_IFREG: .regular
      case S_IFBLK: .blockDevice
      default: .other
      }
  }
}

extension StorageIdentity {
  /// A block device is the same device by whichever of its nodes it was opened; no file has inode 0.
  init(_ status: stat) {
    let isDevice = LocatedFile.Kind(status) == .blockDevice
    self.init(device: UInt64(isDevice ? status.st_rdev : status.st_dev), inode: isDevice ? 0 : UInt64(status.st_ino))
  }
}
