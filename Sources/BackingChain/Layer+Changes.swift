import HostStorage
import ImageFormat

extension Layer {
  /// Says in a sentence how the file of a layer that is only read differs from what it was when it was opened; nil when
  /// it does not. That its path now leads to another file is a difference, that it was moved is none.
  package func changeSinceOpening() throws(ChainError) -> String? {
    let now = try status()
    var changes: [String] = []
    if now.size != opened.size {
      changes.append("its size was \(opened.size.bytes) bytes and is \(now.size.bytes)")
    }
    if now.modified != opened.modified {
      changes.append("it was last modified at \(time(opened.modified)), now at \(time(now.modified))")
    }
    if let place {
      let found = (try? LocatedFile(place.file.bytes))?.identity
      if let found, found != opened.identity {
        changes.append("its path leads to \(file(found)) and led to \(file(opened.identity))")
      } else if found == nil, now.links == 0 {
        changes.append("it was deleted; it was \(file(opened.identity))")
      }
    }
    return changes.isEmpty ? nil : "\(path) was changed while it was in use: " + changes.joined(separator: "; ")
  }

  /// Says of the active layer that its file has no name any more, and how it is rescued; nil while it has one.
  package func lossOfName() throws(ChainError) -> String? {
    guard try status().links == 0, opened.links > 0 else { return nil }
    let rescue = image.storage.descriptorPath.map { "; before the unmount, `cp --sparse=always \($0) COPY` keeps it" }
    return "\(path) was deleted while it was in use" + (rescue ?? "")
  }

  private func status() throws(ChainError) -> StorageStatus {
    do throws(StorageError) {
      return try image.storage.status()
    } catch {
      throw ChainError(error)
    }
  }
}

/// As `date -d` takes it.
private func time(_ nanoseconds: Int) -> String {
  let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
  let digits = String(rest)
  return "@\(seconds)." + String(repeating: "0", count: 9 - digits.count) + digits
}

private func file(_ identity: StorageIdentity) -> String { "inode \(identity.inode) of device \(identity.device)" }
