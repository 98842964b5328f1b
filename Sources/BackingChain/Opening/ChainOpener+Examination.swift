import HostStorage

extension ChainOpener {
  /// Whether a file that was found can be a part of the chain: its kind, and that it is not there already, by
  /// whatever name. From now on it is.
  mutating func examine(
    _ file: borrowing LocatedFile, subject: String, isNamedByImage: Bool, _ objections: inout Objections
  ) {
    switch file.kind {
    case .regular: break
    case .blockDevice where !isNamedByImage || options.allowsBlockDevices: break
    case .blockDevice:
      objections.add(.refusedName, "\(subject) is a block device", mountOption: HostPath("allow-block"))
    case .other:
      objections.add(.refusedName, "\(subject) is neither a regular file nor a block device")
    }
    if let known = files[file.identity] {
      objections.add(.loop, "\(subject) leads back to \(known), which is in the chain already")
    }
    if let mountpoint, HostPath(file.resolvedPath).isInside(mountpoint) {
      objections.add(.loop, "\(subject) lies in \(mountpoint), which the mount will hide")
    }
    checkLoopDevices(below: file.identity.device, subject: subject, &objections)
    files[file.identity] = HostPath(file.resolvedPath)
  }

  /// A file system or a partition on a loop device over a file of the chain, or of the mount, waits for itself.
  private func checkLoopDevices(below device: UInt64, subject: String, _ objections: inout Objections) {
    var device = device
    // Loop devices on loop devices; nobody stacks this many.
    for _ in 0..<16 {
      guard let path = loopBackingFile(ofDevice: device).map({ HostPath($0) }) else { return }
      if let mountpoint, path.isInside(mountpoint) {
        objections.add(.loop, "\(subject) lies on a loop device over \(path), in the mount itself")
        return
      }
      guard let file = try? LocatedFile(path.bytes) else { return }
      if let known = files[file.identity] {
        objections.add(.loop, "\(subject) lies on a loop device over \(known), which is in the chain already")
        return
      }
      device = file.identity.device
    }
  }
}
