import HostStorage

/// How many pages of a mount the kernel lets wait for their write-back.
///
/// A FUSE file system gets 1 % of the memory that may be dirty, strictly, because its server might be made to wait for the
/// very pages that it shall write. A tenth is no danger: who writes is made to wait from three quarters of that memory on
/// (the middle between the kernel's two thresholds), so while only the mount's pages are dirty, nobody waits.
enum DirtyPages {
  /// Percent of the memory that may be dirty.
  private static let share = 10

  /// Lets more wait for what is mounted at `mountpoint` (absolute, without symbolic links). Only root may ask for it; the
  /// mount works all the same without.
  static func allowMore(at mountpoint: String) {
    guard let mount = try? MountTable.flatcowMounts().last(where: { $0.mountpoint == mountpoint }) else { return }
    let folder = "/sys/class/bdi/\(mount.device)"
    // The limit of the share is what remains when strictness goes.
    guard (try? TextFile.write("\(share)\n", to: "\(folder)/max_ratio")) != nil else { return }
    try? TextFile.write("0\n", to: "\(folder)/strict_limit")
  }
}
