import Glibc
import Synchronization

// The file's length, watched. Whoever else has the file may cut it off. What lay behind the cut is lost, and must not come
// back as zeros when the file grows again: so whatever changes the file looks first whether it is as long as it has to be, a
// read that meets an end before that notes the cut, and from then on the file takes no change, and nothing behind the
// cut is read. One who cuts it in the moment between the look and the change is seen by the next look.
extension FileStorage {
  /// Throws where the file was cut, by what is known or by a look.
  func checkLength(before operation: String) throws(StorageError) {
    if isBlockDevice { return }
    // The order matters: the file may grow meanwhile, and only that.
    let known = knownEnd.load(ordering: .sequentiallyConsistent)
    do throws(Errno) {
      let size = try currentSize()
      if size < known { lostFrom.min(size, ordering: .sequentiallyConsistent) }
    } catch {
      throw StorageError(errno: error.code, operation: operation, path: path)
    }
    if lostFrom.load(ordering: .sequentiallyConsistent) < .max { throw lost(operation) }
  }

  /// The file reaches to `end` at least, by what has just been done.
  func noteEnd(_ end: HostOffset) {
    knownEnd.max(end.bytes, ordering: .sequentiallyConsistent)
  }

  /// A read met the file's end at `offset`.
  func noteEndMet(at offset: HostOffset) {
    if offset.bytes < knownEnd.load(ordering: .sequentiallyConsistent) { try? checkLength(before: "read") }
  }

  /// Throws where the bytes up to `end` are known to be lost in part.
  func checkReadable(to end: HostOffset) throws(StorageError) {
    if end.bytes > lostFrom.load(ordering: .relaxed) { throw lost("read") }
  }

  private func lost(_ operation: String) -> StorageError {
    StorageError(code: .cut, errno: EIO, operation: operation, path: path)
  }
}
