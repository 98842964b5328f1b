import HostStorage

/// Where the files may lie that an image names.
///
/// A name is followed first, and then the place that it led to is judged; what is opened is the file that was judged.
/// The answer for a place out of bounds is the same whether or not something is there.
struct PlacePolicy {
  /// Resolved directories that the operator allows; nil allows every place.
  let roots: [HostPath]?

  enum Finding: ~Copyable {
    case found(LocatedFile)
    /// In bounds, but it cannot be looked up.
    case missing(StorageError)
    case outOfBounds
  }

  /// Looks an absolute name up.
  func find(_ name: HostPath, directories: [HostPath]) -> Finding {
    guard staysInside(name, directories: directories) else { return .outOfBounds }
    do throws(StorageError) {
      let file = try LocatedFile(name.bytes)
      return allows(HostPath(file.resolvedPath), directories: directories) ? .found(file) : .outOfBounds
    } catch {
      return allows(Self.reach(of: name), directories: directories) ? .missing(error) : .outOfBounds
    }
  }

  /// A name that leaves the bounds on its way, and comes back, would tell by its success what directories there are. Those
  /// above an image are no secret.
  private func staysInside(_ name: HostPath, directories: [HostPath]) -> Bool {
    guard let roots else { return true }
    return name.detours.allSatisfy { detour in
      guard let directory = try? LocatedFile(detour.bytes) else { return true }
      let place = HostPath(directory.resolvedPath)
      return allows(place, directories: directories) || (directories + roots).contains { $0.isInside(place) }
    }
  }

  /// `directories`: those of the image that records the name.
  func allows(_ place: HostPath, directories: [HostPath]) -> Bool {
    guard let roots else { return true }
    return place.isAbsolute && (directories + roots).contains { place.isInside($0) }
  }

  /// How far a name leads that does not lead to a file: the last directory on its way, all links followed.
  private static func reach(of name: HostPath) -> HostPath {
    var name = name
    // The kernel gives up links that lead in a circle; so does this, far beyond any real name.
    for _ in 0..<10_000 {
      if let target = symbolicLink(at: name.bytes) {
        name = name.directory.appending(HostPath(target))
      } else {
        name = name.directory
        if let directory = try? LocatedFile(name.bytes) { return HostPath(directory.resolvedPath) }
      }
    }
    return .root
  }
}
