import CFUSE

extension FUSESession {
  /// Has the kernel write back what is dirty of the file's cached pages and drop them all. Not to be called from
  /// the answer to a read or write of the same pages: the kernel holds these until the answer.
  package func invalidateData(of inode: InodeNumber) { notify(inode, offset: 0) }

  /// Has the kernel ask again for the file's attributes.
  package func invalidateAttributes(of inode: InodeNumber) { notify(inode, offset: -1) }

  /// An inode that the kernel does not know, or a connection that has ended, has nothing to forget.
  private func notify(_ inode: InodeNumber, offset: Int) {
    _ = unsafe fuse_lowlevel_notify_inval_inode(pointer, inode.rawValue, offset, 0)
  }
}
