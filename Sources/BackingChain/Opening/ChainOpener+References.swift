import Glibc
import HostStorage
import ImageFormat
import Qcow2Format

/// A name in an image's header and what it is there for.
private struct Reference {
  enum Role: String {
    case backing = "backing file"
    case data = "external data file"
  }

  let role: Role
  let name: [UInt8]

  /// `its backing file "../base.qcow2"`
  var subject: String { "its \(role.rawValue) \"\(printable(name))\"" }
}

extension ChainOpener {
  func checkBitmaps(of image: FoundImage, _ objections: inout Objections) {
    guard image.header?.hasBitmaps == true, !options.dropsBitmaps else { return }
    objections.add(
      .image,
      "it has persistent dirty bitmaps, which writing would make wrong (`ro` keeps them, `bitmaps=drop` frees them)",
      mountOption: HostPath("bitmaps=drop"))
  }

  mutating func findBacking(of image: FoundImage, _ objections: inout Objections) -> FoundReference? {
    guard let backing = image.header?.backing else { return nil }
    let reference = Reference(role: .backing, name: backing.name)
    if options.ignoresBacking {
      notes.append("\(image.path): \(reference.subject) is not opened; what it holds reads as zeros")
      return nil
    }
    if images.count >= options.maxDepth {
      objections.add(
        .tooDeep, "\(reference.subject) would be layer \(images.count + 1) of at most \(options.maxDepth)",
        mountOption: HostPath("max-depth=\(options.maxDepth * 2)"))
    }
    guard let name = understand(reference, &objections) else {
      if backing.format == nil { noFormat(of: reference, image, &objections) }
      return nil
    }
    let format = self.format(of: reference, recorded: backing.format, named: name.format, image, &objections)
    return find(name, reference, format: format ?? .raw, from: image, &objections)
  }

  mutating func findDataFile(of image: FoundImage, _ objections: inout Objections) -> FoundReference? {
    guard let header = image.header, header.usesDataFile else { return nil }
    guard let recorded = header.dataFileName else {
      objections.add(.image, "it uses an external data file, but records no name of one")
      return nil
    }
    let reference = Reference(role: .data, name: recorded)
    if !options.allowsDataFile {
      objections.add(
        .refusedName, "\(reference.subject) is not opened unasked", mountOption: HostPath("data-file=allow"))
    }
    guard let name = understand(reference, &objections) else { return nil }
    if let format = name.format, format != LayerFormat.raw.rawValue {
      objections.add(.unknownFormat, "\(reference.subject) states the format \"\(format)\", and must be raw")
    }
    return find(name, reference, format: .raw, from: image, &objections)
  }

  private func understand(_ reference: Reference, _ objections: inout Objections) -> ImageName? {
    do throws(ImageName.Fault) {
      return try ImageName(reference.name)
    } catch {
      objections.add(.refusedName, "\(reference.subject) \(error.reason)")
      return nil
    }
  }

  private mutating func format(
    of reference: Reference, recorded: String?, named: String?, _ image: FoundImage, _ objections: inout Objections
  ) -> LayerFormat? {
    guard let stated = recorded ?? named ?? formats.popFirst() else {
      noFormat(of: reference, image, &objections)
      return nil
    }
    if let named, named != stated {
      objections.add(.unknownFormat, "\(reference.subject) states the format \"\(named)\", the header \"\(stated)\"")
    }
    guard let format = LayerFormat(rawValue: stated) else {
      objections.add(
        .unknownFormat,
        """
        \(reference.subject) has the format "\(printable(Array(stated.utf8)))", and only \(LayerFormat.choice) is supported
        """)
      return nil
    }
    return format
  }

  private func noFormat(of reference: Reference, _ image: FoundImage, _ objections: inout Objections) {
    objections.add(
      .unknownFormat, "it records no format for \(reference.subject) (FMT below is \(LayerFormat.choice))",
      command: "qemu-img rebase -u -b \(shellWord(reference.name)) -F FMT \(shellWord(image.path.bytes))")
  }

  /// Follows a name from an image's header and judges what it leads to. Nil: there is an objection.
  private mutating func find(
    _ name: ImageName, _ reference: Reference, format: LayerFormat, from image: FoundImage,
    _ objections: inout Objections
  ) -> FoundReference? {
    let directory = name.path.isAbsolute ? HostPath.root : startingPoint(of: name, reference, image, &objections)
    guard let directory else { return nil }
    let path = directory.appending(name.path)
    switch policy.find(path, directories: image.directories) {
    case .found(let file):
      examine(file, subject: reference.subject, isNamedByImage: true, &objections)
      return FoundReference(
        file: file, path: path, directory: name.path.isAbsolute ? nil : directory, format: format)
    case .missing(let error):
      let rebase = "; if it was moved, run `qemu-img rebase -u -b NEW-NAME -F \(format) \(shellWord(image.path.bytes))`"
      objections.add(
        error.errno == ENOENT ? .notFound : .storage,
        "\(reference.subject): \(error)\(reference.role == .backing ? rebase : "")")
    case .outOfBounds:
      refuse(reference, leadingTo: path.simplified, from: image, &objections)
    }
    return nil
  }

  /// What is said depends on the name alone, not on what is found by it.
  private func refuse(
    _ reference: Reference, leadingTo path: HostPath, from image: FoundImage, _ objections: inout Objections
  ) {
    let bounds = image.directories + (policy.roots ?? [])
    let list = bounds.isEmpty ? "every allowed directory" : bounds.map(\.description).joined(separator: ", ")
    // A name that stays inside leaves by a symbolic link, and where that leads is not said.
    let option =
      bounds.contains(where: path.isInside)
      ? HostPath("trust-chain") : HostPath("backing-root=".utf8 + optionValue(path.directory.bytes))
    objections.add(.refusedName, "\(reference.subject) leads out of \(list)", mountOption: option)
  }

  /// The directory from which a relative name is looked up. QEMU takes that of the name by which the image was opened,
  /// mount(8) has resolved that name before; where both lead to a file, it has to be the same.
  private func startingPoint(
    of name: ImageName, _ reference: Reference, _ image: FoundImage, _ objections: inout Objections
  ) -> HostPath? {
    let present = image.directories.compactMap { directory in
      identity(of: directory.appending(name.path), image).map { (directory: directory, identity: $0) }
    }
    if let first = present.first, present.contains(where: { $0.identity != first.identity }) {
      objections.add(
        .refusedName,
        """
        \(reference.subject) means another file in \(first.directory), by which the image was named, than where the \
        image lies; to go on, name it by its place, \(image.path)
        """)
      return nil
    }
    if let directory = present.first?.directory ?? image.directories.first { return directory }
    objections.add(
      .refusedName,
      "\(reference.subject) is relative, and an image passed as a descriptor has no directory; to go on, pass its path")
    return nil
  }

  private func identity(of path: HostPath, _ image: FoundImage) -> StorageIdentity? {
    switch policy.find(path, directories: image.directories) {
    case .found(let file): file.identity
    default: nil
    }
  }

  /// Where the names in an image's header are looked up that was itself found by a name in one.
  func directories(of reference: borrowing FoundReference, namedBy image: FoundImage) -> [HostPath] {
    let own = HostPath(reference.file.resolvedPath).directory
    guard let named = try? reference.path.directory.resolved(), named != own,
      policy.allows(named, directories: image.directories)
    else { return [own] }
    return [named, own]
  }
}
