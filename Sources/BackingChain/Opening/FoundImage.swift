import HostStorage
import ImageFormat
import Qcow2Format

/// An image of the chain on the way to a layer: its file is open and locked, of its contents only the header is read.
struct FoundImage {
  /// Absolute, without symbolic links; `/dev/fd/N` for one that was passed as a descriptor.
  let path: HostPath
  /// Where the names in its header are looked up, when they are relative: the directory of the name by which the image
  /// was found, as in QEMU, and that of the file itself, if it is another. None for an image without a place.
  let directories: [HostPath]
  let storage: any Storage
  let status: StorageStatus
  /// Nil: a raw image.
  let header: Qcow2Header?
  /// The external data file.
  var dataStorage: (any Storage)?
  var dataStatus: StorageStatus?
  /// The one of `directories` from which its relative backing name was found.
  var directory: HostPath?

  init(
    path: HostPath, directories: [HostPath], storage: any Storage, format: LayerFormat
  ) throws(ChainError) {
    self.path = path
    self.directories = directories
    self.storage = storage
    directory = directories.first
    status = try storage.currentStatus()
    do throws(ImageError) {
      header =
        switch format {
        case .raw: nil
        case .qcow2: try Qcow2Header.read(from: storage)
        }
    } catch {
      throw ChainError(error)
    }
  }
}

/// What a name in an image's header led to: looked up and judged, not opened yet.
struct FoundReference: ~Copyable {
  let file: LocatedFile
  /// The absolute name that was followed.
  let path: HostPath
  /// Where it was looked up; nil for an absolute name.
  let directory: HostPath?
  let format: LayerFormat
}
