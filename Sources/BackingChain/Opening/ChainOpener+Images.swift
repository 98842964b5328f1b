import Glibc
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat

extension ChainOpener {
  /// Opens the images on the files that were found. The active one comes last, for it may have to be repaired, and
  /// nothing is written before all else is in order.
  func openImages() throws(ChainError) -> OpenedChain {
    var notes = self.notes
    if !formats.isEmpty {
      notes.append("no layer lacks a format for `backing-format=\(formats.joined(separator: ":"))`")
    }
    if options.dropsBitmaps, !options.opensReadOnly, images[0].header?.hasBitmaps == true {
      notes.append("\(images[0].path): its persistent dirty bitmaps are dropped")
    }
    if !options.opensReadOnly, images[0].header?.isMarkedDirty == true {
      notes.append("\(images[0].path): it was not closed cleanly; its reference counts were repaired")
    }
    let headers = images.compactMap(\.header)
    let largestTable = headers.map(\.clusterSize).max() ?? 0
    let budget = TableBudget(limit: max(options.cacheLimit, largestTable * 16), images: headers.count)
    do throws(ImageError) {
      let below = try images.dropFirst().map { (image) throws(ImageError) in layer(image, try read(image, budget)) }
      let top = images[0]
      if options.opensReadOnly {
        return OpenedChain(layers: [layer(top, try read(top, budget))] + below, active: nil, notes: notes)
      }
      let active = try write(top, budget)
      return OpenedChain(layers: [layer(top, active)] + below, active: active, notes: notes)
    } catch {
      throw ChainError(error)
    }
  }

  private func layer(_ found: FoundImage, _ image: any Image) -> Layer {
    Layer(
      image: image, path: found.path.description, opened: found.status, openedData: found.dataStatus,
      place: found.directories.isEmpty ? nil : LayerPlace(file: found.path, directory: found.directory))
  }

  private func read(_ found: FoundImage, _ budget: TableBudget) throws(ImageError) -> any Image {
    guard let header = found.header else { return try RawImage(found.storage) }
    return try Qcow2Image(
      header: header, storage: found.storage, dataStorage: found.dataStorage, budget: budget)
  }

  private func write(_ found: FoundImage, _ budget: TableBudget) throws(ImageError) -> any WritableImage {
    guard let header = found.header else { return try RawImage(found.storage) }
    return try Qcow2ActiveImage(
      header: header, storage: found.storage, dataStorage: found.dataStorage,
      options: Qcow2ActiveImage.Options(
        dropsBitmaps: options.dropsBitmaps, punches: options.discardsToHost, budget: budget))
  }

  /// A file could not be opened or locked.
  func refusal(after error: StorageError, readOnly: Bool) -> ChainError {
    var refusal = ChainError(error)
    let path = printable(Array(error.path.utf8))
    if error.code == .locked {
      let holder = error.detail.map { " (\($0))" } ?? ""
      refusal.message =
        "\(path) is in use by another program\(holder); to go on, stop that one"
        + (options.opensReadOnly ? ", or mount with `-o ro,lock=off` and bear with changes below" : "")
    } else if !readOnly, [EACCES, EROFS, EPERM].contains(error.errno) {
      refusal.message += "; to read it, mount with `-o ro`"
    }
    return refusal
  }
}
