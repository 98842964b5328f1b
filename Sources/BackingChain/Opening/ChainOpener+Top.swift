import Glibc
import HostStorage
import Qcow2Format

extension ChainOpener {
  /// Opens the image that the operator named; `/dev/fd/N` is descriptor N, which has no place and so no directory.
  mutating func openTop(_ name: String) throws(ChainError) -> FoundImage {
    let path = HostPath(name)
    if path.directory == HostPath("/dev/fd") || path.directory == HostPath("/proc/self/fd") {
      return try openDescriptor(named: path)
    }
    let file = try path.located()
    let place = HostPath(file.resolvedPath)
    var objections = Objections(to: place)
    examine(file, subject: "it", isNamedByImage: false, &objections)
    try objections.check()

    let isDevice = file.kind == .blockDevice
    let directories = [try path.directory.resolved(), place.directory]
    let storage = try open(file, readOnly: options.opensReadOnly)
    return try FoundImage(
      path: place, directories: directories[0] == directories[1] ? [place.directory] : directories, storage: storage,
      format: topFormat(named: [path, place], isDevice: isDevice, storage))
  }

  private mutating func openDescriptor(named path: HostPath) throws(ChainError) -> FoundImage {
    let storage: FileStorage
    let status: StorageStatus
    let place: [UInt8]?
    do throws(StorageError) {
      storage = try FileStorage.open("/dev/fd/\(path.lastComponent)", readOnly: options.opensReadOnly)
      status = try storage.status()
      place = try storage.currentPath()
    } catch {
      throw refusal(after: error, readOnly: options.opensReadOnly)
    }
    try lock(storage, readOnly: options.opensReadOnly)
    files[status.identity] = path
    return try FoundImage(
      path: path, directories: [], storage: storage,
      format: topFormat(named: [HostPath(place ?? [])], isDevice: status.isBlockDevice, storage))
  }

  /// A guest can write what a raw image begins with, so its name, not the magic, has the last word.
  private func topFormat(
    named names: [HostPath], isDevice: Bool, _ storage: any Storage
  ) throws(ChainError) -> LayerFormat {
    let path = storage.path
    if let stated = options.format {
      if let format = LayerFormat(rawValue: stated) { return format }
      throw ChainError(
        .unknownFormat, path: path,
        message: """
          \(path): the format "\(stated)" is not supported; to go on, mount with `-o format=FMT`, \
          FMT being \(LayerFormat.choice)
          """)
    }
    if names.contains(where: \.isNamedRaw) { return .raw }
    let magic: [UInt8]
    do throws(StorageError) {
      magic = try storage.bytes(ByteCount(Qcow2Header.magic.count), at: HostOffset(0))
    } catch {
      throw ChainError(error)
    }
    if !isDevice, magic == Qcow2Header.magic { return .qcow2 }
    let reason = isDevice ? "it is a device" : "it is not named .raw and does not begin as a qcow2 image"
    throw ChainError(
      .unknownFormat, path: path,
      message: """
        \(path): its format cannot be told, for \(reason); to go on, mount with `-o format=FMT`, \
        FMT being \(LayerFormat.choice)
        """)
  }
}

extension HostPath {
  fileprivate var isNamedRaw: Bool { String(decoding: bytes.suffix(4), as: UTF8.self).lowercased() == ".raw" }

  /// The file that a name of the operator's leads to.
  func located() throws(ChainError) -> LocatedFile {
    do throws(StorageError) {
      return try LocatedFile(bytes)
    } catch {
      throw ChainError(
        error.errno == ENOENT ? .notFound : .storage, path: description, message: error.description, storage: error)
    }
  }

  func resolved() throws(ChainError) -> HostPath { HostPath(try located().resolvedPath) }
}
