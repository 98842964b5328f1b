package import HostStorage
package import ImageFormat

/// An open image in a chain.
package final class Layer: Sendable {
  package let image: any Image
  /// The image file's absolute path, all symbolic links resolved, fit to be shown; `/dev/fd/N` for one that was passed
  /// as a descriptor.
  package let path: String
  /// What the host said of the file when it was opened; a difference at completion means that somebody else changed it.
  package let opened: StorageStatus
  /// The same of its external data file, where it has one.
  let openedData: StorageStatus?
  /// Everybody who asks or reads the image goes through it, while the layer is below the active one.
  let door = LayerDoor()
  /// Nil for an image that was passed as a descriptor.
  package let place: LayerPlace?

  package init(
    image: any Image, path: String, opened: StorageStatus, openedData: StorageStatus? = nil, place: LayerPlace? = nil
  ) {
    self.image = image
    self.path = path
    self.opened = opened
    self.openedData = openedData
    self.place = place
  }

  package var virtualSize: ByteCount { image.virtualSize }

  /// Closes and unlocks the image file and its external data file. Nobody may be inside.
  package func close() {
    if image.dataStorage !== image.storage { image.dataStorage.close() }
    image.storage.close()
  }
}

/// Where a layer's file was when it was opened.
package struct LayerPlace: Sendable {
  /// Absolute, all symbolic links resolved.
  package let file: HostPath
  /// From which a relative name in its header was found: the directory of the file, or of a symbolic link by which it was
  /// named.
  package let directory: HostPath

  package init(file: HostPath, directory: HostPath?) {
    self.file = file
    self.directory = directory ?? file.directory
  }
}
