package import HostStorage
package import ImageFormat

/// An open image in a chain.
package final class Layer: Sendable {
  package let image: any Image
  /// The image file's absolute path, all symbolic links resolved.
  package let path: String
  /// What the host said of the file when it was opened; a difference at completion means that somebody else changed it.
  package let opened: StorageStatus

  package init(image: any Image, path: String, opened: StorageStatus) {
    self.image = image
    self.path = path
    self.opened = opened
  }

  package var virtualSize: ByteCount { image.virtualSize }

  /// Closes and unlocks the image file and its external data file. No request may be under way.
  package func close() {
    if image.dataStorage !== image.storage { image.dataStorage.close() }
    image.storage.close()
  }
}
