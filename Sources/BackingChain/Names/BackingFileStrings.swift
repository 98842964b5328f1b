import HostStorage
package import ImageFormat
import Qcow2Format

/// What a completion may write into the active image's header: which layer a backing-file string means, and by which
/// string a layer is found again.
///
/// Looked up is what the host has now, from where the active image is now: both may have been moved since the mount.
package struct BackingFileStrings: Sendable {
  /// Top first.
  private let layers: [Layer]

  /// `layers`: of one chain, the active one first.
  package init(of layers: [Layer]) { self.layers = layers }

  /// Says what is known to be wrong with a string, whatever it means. Throws `.invalidName`, `.nameTooLong`.
  package func check(_ string: [UInt8]) throws(ChainError) {
    if string.isEmpty { throw refusal(.invalidName, string, "it is empty") }
    if string.contains(0) { throw refusal(.invalidName, string, "it contains a NUL byte") }
    if string.count > Qcow2Header.longestName {
      throw refusal(
        .nameTooLong, string, "it has \(string.count) bytes, and a header holds \(Qcow2Header.longestName)")
    }
    if leads(string, to: layers[0]) { throw refusal(.invalidName, string, "it is the active image itself") }
  }

  /// The layer below the active one that a string means: the file that it leads to, or one that is recorded by it, or
  /// that it leads to from another layer's directory. Throws `.notInChain`, `.ambiguous`, and as `check` does.
  package func layer(matching string: [UInt8]) throws(ChainError) -> Layer {
    try check(string)
    if let layer = layers.dropFirst().first(where: { leads(string, to: $0) }) { return layer }
    let directories = Set(layers.compactMap(\.place?.directory))
    let reached = Set(directories.compactMap { identity(of: string, from: $0) })
    let matches = below.filter { index in
      layers[index - 1].image.backing?.name == string || reached.contains(layers[index].opened.identity)
    }
    guard let match = matches.first else {
      throw refusal(
        .notInChain, string,
        """
        it names no layer of the chain, and a chain that is streamed whole needs no backing file; write an empty line for \
        none, or one of \(layers.dropFirst().map { "\"\($0.path)\"" }.joined(separator: ", "))
        """)
    }
    if matches.count > 1 {
      let paths = matches.map { layers[$0].path }.joined(separator: " and ")
      throw refusal(.ambiguous, string, "it means both \(paths); write the path of one of them")
    }
    return layers[match]
  }

  /// Whether a string leads from the active image's present directory to this layer's file. False for a layer without
  /// a file, and for a name that cannot be followed.
  package func leads(_ string: [UInt8], to layer: Layer) -> Bool {
    identity(of: string, from: activeDirectory) == layer.opened.identity
  }

  /// What is recorded for a string as it was given, with `base` below; `base`'s format always goes with it. Whether the
  /// string leads anywhere is not looked at. Throws as `check` does.
  package func verbatim(_ string: [UInt8], for base: Layer) throws(ChainError) -> RecordedBacking {
    try check(string)
    return RecordedBacking(name: string, format: base.image.format)
  }

  /// What is recorded for a string that means `base`: the string if it leads there, otherwise a name made right.
  /// Throws `.ambiguous`, `.nameTooLong`.
  package func backing(naming string: [UInt8], for base: Layer) throws(ChainError) -> RecordedBacking {
    leads(string, to: base) ? try verbatim(string, for: base) : try automaticBacking(for: base)
  }

  /// The name by which `base` is recorded in the layer above it, made right for the active image's present directory:
  /// what is relative stays relative. It leads to `base`. Throws `.ambiguous` where there is no such name, and
  /// `.nameTooLong`.
  package func automaticBacking(for base: Layer) throws(ChainError) -> RecordedBacking {
    guard let index = below.first(where: { layers[$0] === base }), let place = base.place,
      let recorded = layers[index - 1].image.backing, let name = try? ImageName(recorded.name)
    else { throw ambiguous(base) }
    let file = presentPath(of: base) ?? place.file
    var candidates = index == 1 && !name.isWrapped ? [HostPath(recorded.name)] : []
    if name.path.isAbsolute {
      candidates += [name.path, file]
    } else if let activeDirectory {
      let named = layers[index - 1].place?.directory.appending(name.path)
      candidates += [named?.withResolvedDirectory, file].compactMap { $0?.relative(to: activeDirectory) }
    }
    guard let right = candidates.first(where: { leads($0.bytes, to: base) }) else { throw ambiguous(base) }
    return try verbatim(right.bytes, for: base)
  }

  /// Indices of the layers below the active one.
  private var below: Range<Int> { 1..<layers.count }

  /// Nil where the active image has no place.
  private var activeDirectory: HostPath? {
    guard let place = layers[0].place else { return nil }
    guard let now = presentPath(of: layers[0]), now != place.file else { return place.directory }
    return now.directory
  }

  private func presentPath(of layer: Layer) -> HostPath? {
    (try? layer.image.storage.currentPath()).map { HostPath($0) }
  }

  private func identity(of string: [UInt8], from directory: HostPath?) -> StorageIdentity? {
    guard let path = try? ImageName(string).path else { return nil }
    guard path.isAbsolute else { return directory.flatMap { try? LocatedFile($0.appending(path).bytes).identity } }
    return try? LocatedFile(path.bytes).identity
  }

  private func ambiguous(_ base: Layer) -> ChainError {
    ChainError(
      .ambiguous, path: layers[0].path,
      message: "no name is known by which \(layers[0].path) finds \(base.path) from where it lies; write one")
  }

  private func refusal(_ code: ChainError.Code, _ string: [UInt8], _ reason: String) -> ChainError {
    ChainError(
      code, path: layers[0].path,
      message: "\(layers[0].path): cannot record the backing file \"\(printable(string))\": \(reason)")
  }
}

extension HostPath {
  /// The same name without symbolic links but a last one; nil where its directory is gone.
  fileprivate var withResolvedDirectory: HostPath? {
    guard let directory = try? LocatedFile(directory.bytes) else { return nil }
    return HostPath(directory.resolvedPath).appending(lastComponent)
  }
}
