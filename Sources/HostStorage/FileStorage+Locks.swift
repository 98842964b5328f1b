import CLinux
import Glibc
import Synchronization

/// QEMU's image locks (its block/file-posix.c): a read lock on byte 100+n says "I hold permission n", one on 200+n "I
/// do not share permission n". Both are taken first, and then it is looked whether somebody else's stand against them;
/// of two programs that do so at once, at least one sees the other.
extension ImageLock {
  /// Numbers of permissions: 0 consistent read, 1 write, 3 resize.
  fileprivate var held: [Int] {
    switch self {
    case .backing: [0]
    case .active: [0, 1, 3]
    }
  }
  fileprivate var unshared: [Int] { [1, 3] }

  fileprivate var taken: [Int] { held.map { 100 + $0 } + unshared.map { 200 + $0 } }
  fileprivate var conflicting: [Int] { held.map { 200 + $0 } + unshared.map { 100 + $0 } }
}

extension FileStorage {
  /// Takes the locks of `mode`; after an error those are held that were held before.
  package func lock(_ mode: ImageLock) throws(StorageError) {
    let before = lockedBytes.withLock { $0 }
    do throws(Errno) {
      for byte in mode.taken {
        _ = try Syscall.lock(descriptor, command: FLATCOW_F_OFD_SETLK, type: F_RDLCK, byte: byte)
      }
      for byte in mode.conflicting {
        let found = try Syscall.lock(descriptor, command: FLATCOW_F_OFD_GETLK, type: F_WRLCK, byte: byte)
        if found != F_UNLCK { throw Errno(code: EAGAIN) }
      }
      lockedBytes.withLock { $0.formUnion(mode.taken) }
    } catch {
      let isConflict = error.code == EAGAIN || error.code == EACCES
      let holder = isConflict ? LockHolder.find(against: mode.conflicting, on: descriptor) : nil
      unlock(Set(mode.taken).subtracting(before))
      throw StorageError(
        code: isConflict ? .locked : .host, errno: error.code, operation: "lock", path: path, detail: holder)
    }
  }

  /// For an adopted description, which its other owners may keep open.
  func unlockAll() {
    unlock(lockedBytes.withLock { $0 })
  }

  private func unlock(_ bytes: Set<Int>) {
    for byte in bytes {
      // Giving back cannot conflict; where it fails nevertheless, closing does it.
      _ = try? Syscall.lock(descriptor, command: FLATCOW_F_OFD_SETLK, type: F_UNLCK, byte: byte)
    }
  }
}
