/// The file below a loop device or below a partition of one, by the name that the kernel has of it; nil for every
/// other device. The device is not opened.
package func loopBackingFile(ofDevice device: UInt64) -> [UInt8]? {
  // Linux's dev_t in 64 bits (makedev(3)).
  let major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
  let minor = device & 0xFF | (device >> 12) & ~0xFF
  let sysfs = "/sys/dev/block/\(major):\(minor)"
  for path in ["\(sysfs)/loop/backing_file", "\(sysfs)/../loop/backing_file"] {
    // An attribute of sysfs says at most a page, and ends its value with a newline.
    if let file = try? FileStorage.open(path, readOnly: true),
      let name = try? file.bytes(ByteCount(4096), at: HostOffset(0))
    {
      return Array(name.prefix { $0 != UInt8(ascii: "\n") })
    }
  }
  return nil
}
