import HostStorage
import ImageFormat

extension Layer {
  /// Says in a sentence how the file of a layer that is only read differs from what it was when it was opened; nil when
  /// it does not. That its path now leads to another file is a difference, that it was moved is none. Not `asking`, it is what
  /// the host knows without asking a server, which may hang.
  package func changeSinceOpening(asking: Bool = true) throws(ChainError) -> String? {
    let now = try image.storage.currentStatus(asking: asking)
    var changes = differences(from: opened, to: now)
    if let place {
      let found = (try? LocatedFile(place.file.bytes))?.identity
      if let found, found != opened.identity {
        changes.append("its path leads to \(file(found)) and led to \(file(opened.identity))")
      } else if found == nil, now.links == 0 {
        changes.append("it was deleted; it was \(file(opened.identity))")
      }
    }
    if let openedData {
      let data = differences(from: openedData, to: try image.dataStorage.currentStatus(asking: asking))
      changes += data.map { "of its external data file: \($0)" }
    }
    return changes.isEmpty ? nil : "\(path) was changed while it was in use: " + changes.joined(separator: "; ")
  }

  /// Says of the active layer that its file has no name any more, and how it is rescued; nil while it has one.
  package func lossOfName() throws(ChainError) -> String? {
    guard try image.storage.currentStatus().links == 0, opened.links > 0 else { return nil }
    let rescue = image.storage.descriptorPath.map { "; before the unmount, `cp --sparse=always \($0) COPY` keeps it" }
    return "\(path) was deleted while it was in use" + (rescue ?? "")
  }
}

extension Storage {
  func currentStatus(asking: Bool = true) throws(ChainError) -> StorageStatus {
    do {
      return try asking ? status() : knownStatus()
    } catch {
      throw ChainError(error)
    }
  }
}

private func differences(from old: StorageStatus, to new: StorageStatus) -> [String] {
  var differences: [String] = []
  if new.size != old.size { differences.append("its size was \(old.size.bytes) bytes and is \(new.size.bytes)") }
  if new.modified != old.modified {
    differences.append("it was last modified at \(time(old.modified)), now at \(time(new.modified))")
  }
  return differences
}

/// As `date -d` takes it.
private func time(_ nanoseconds: Int) -> String {
  let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
  let digits = String(rest)
  return "@\(seconds)." + String(repeating: "0", count: 9 - digits.count) + digits
}

private func file(_ identity: StorageIdentity) -> String { "inode \(identity.inode) of device \(identity.device)" }
