import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat

/// Opens a chain by the name of its active image.
///
/// No format is guessed from bytes that a guest can write. Names found inside images are bound by `PlacePolicy`; the
/// operator's are not. First all files of the chain are found, judged, opened and locked, from the top down, reading
/// headers only; then the images are opened on them. So nothing has been written when something is refused, and no
/// file is opened before everything that is known against it has been looked at.
package struct ChainOpener {
  let options: ChainOptions
  let policy: PlacePolicy
  let mountpoint: HostPath?
  var images: [FoundImage] = []
  /// Every file of the chain so far, data files too, and its name.
  var files: [StorageIdentity: HostPath] = [:]
  /// The operator's formats that no layer has taken yet.
  var formats: ArraySlice<String>
  var notes: [String] = []

  /// Opens the chain whose active image is at `path`: a file, a block device, or `/dev/fd/N`.
  package static func open(path: String, options: ChainOptions) throws(ChainError) -> OpenedChain {
    guard options.locks || options.opensReadOnly else {
      throw ChainError(.usage, path: path, message: "`lock=off` is for reading only: mount with `-o ro,lock=off`")
    }
    var opener = try ChainOpener(options: options)
    opener.images = [try opener.openTop(path)]
    while let image = try opener.openBelow(opener.images.count - 1) { opener.images.append(image) }
    return try opener.openImages()
  }

  private init(options: ChainOptions) throws(ChainError) {
    self.options = options
    formats = options.backingFormats[...]
    mountpoint = try options.mountpoint.map { (path) throws(ChainError) in try HostPath(path).resolved() }
    let roots = try options.backingRoots.map { (path) throws(ChainError) in try HostPath(path).resolved() }
    policy = PlacePolicy(roots: options.trustsChain ? nil : roots)
  }

  /// Opens what image number `index` names: its data file, and the image below, which is the answer.
  private mutating func openBelow(_ index: Int) throws(ChainError) -> FoundImage? {
    let image = images[index]
    var objections = Objections(to: image.path)
    let isWritten = index == 0 && !options.opensReadOnly
    if isWritten { checkBitmaps(of: image, &objections) }
    let backing = findBacking(of: image, &objections)
    let data = findDataFile(of: image, &objections)
    try objections.check()

    if let data {
      let storage = try open(data.file, readOnly: !isWritten)
      images[index].dataStorage = storage
      images[index].dataStatus = try storage.currentStatus()
    }
    guard let backing else { return nil }
    if let directory = backing.directory { images[index].directory = directory }
    return try FoundImage(
      path: HostPath(backing.file.resolvedPath), directories: directories(of: backing, namedBy: image),
      storage: open(backing.file, readOnly: true), format: backing.format)
  }

  /// Opens and locks a file that was judged.
  func open(_ file: consuming LocatedFile, readOnly: Bool) throws(ChainError) -> any Storage {
    let storage: FileStorage
    do throws(StorageError) {
      storage = try FileStorage.open(file, readOnly: readOnly)
    } catch {
      throw refusal(after: error, readOnly: readOnly)
    }
    try lock(storage, readOnly: readOnly)
    return storage
  }

  func lock(_ storage: any Storage, readOnly: Bool) throws(ChainError) {
    guard options.locks else { return }
    do throws(StorageError) {
      try storage.lock(readOnly ? .backing : .active)
    } catch {
      throw refusal(after: error, readOnly: readOnly)
    }
  }
}
