import HostStorage

/// How many pages of a mount the kernel lets wait for their write-back.
///
/// A FUSE file system gets 1 % of the memory that may be dirty, because its server might be made to wait for the very pages
/// that it shall write. A tenth is no danger: others are made to wait when three quarters of that memory are taken. The limit
/// stays a strict one.
enum DirtyPages {
  /// Percent of the memory that may be dirty.
  private static let share = 10

  /// Lets more wait for what is mounted at `mountpoint` (absolute, without symbolic links). Only root may ask for it; the
  /// mount works all the same without.
  static func allowMore(at mountpoint: String) {
    guard let mount = try? MountTable.flatcowMounts().last(where: { $0.mountpoint == mountpoint }) else { return }
    try? TextFile.write("\(share)\n", to: "/sys/class/bdi/\(mount.device)/max_ratio")
  }
}
