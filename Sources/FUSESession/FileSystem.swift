/// What answers the kernel's requests: one method a request.
///
/// Every method may be called from any number of threads at once and may block its thread; the session starts
/// another one for the next request, up to its limit. Only a write can be answered later, by another thread.
/// Requests that the tree has no use for never arrive: everything that would change a directory is EPERM, and
/// extended attributes are not supported.
package protocol FileSystem: AnyObject, Sendable {
  /// ENOENT where there is no such name.
  func lookup(_ name: String, in directory: InodeNumber) throws(Errno) -> Entry
  /// `user`: the open file that the kernel asks for, where it does so to read or to write by it; an error is that of the
  /// read(2) or write(2) then.
  func attributes(of inode: InodeNumber, usedBy user: FileHandle?, by caller: Caller) throws(Errno) -> FileAttributes
  /// Returns the attributes as they are afterwards, which may differ from what was asked for.
  func change(_ change: AttributeChange, of inode: InodeNumber, by caller: Caller) throws(Errno) -> FileAttributes
  /// All names of a directory, in the same order every time, without `.` and `..`.
  func entries(of directory: InodeNumber) throws(Errno) -> [DirectoryEntry]
  func space() throws(Errno) -> FileSystemSpace

  func open(_ inode: InodeNumber, _ flags: OpenFlags, by caller: Caller) throws(Errno) -> OpenReply
  /// Appends the bytes of `range` to `output`, which has room for them; fewer only where the file ends.
  func read(_ range: FileRange, of file: OpenFile, into output: inout OutputSpan<UInt8>) throws(Errno)
  /// Writes `bytes`, which are valid until this method returns, and answers by `reply`.
  func write(
    _ bytes: Span<UInt8>, at offset: FileOffset, to file: OpenFile, as kind: WriteKind, by caller: Caller,
    reply: consuming WriteReply)
  /// Whether `offset` or what follows it is data or a hole: the next position of that kind, ENXIO where there is none.
  func seek(_ target: SeekTarget, from offset: FileOffset, in file: OpenFile) throws(Errno) -> FileOffset
  /// `mode` is fallocate(2)'s. Of an O_DSYNC the kernel says nothing here: it was told to `open`.
  func allocate(_ range: FileRange, mode: Int32, of file: OpenFile) throws(Errno)
  func synchronize(_ file: OpenFile, dataOnly: Bool) throws(Errno)
  /// A descriptor was closed; there may be others of the same open file.
  func flush(_ file: OpenFile) throws(Errno)
  /// The last descriptor was closed. Called once for each `open`, even when the opener was gone before its answer.
  func release(_ file: OpenFile)
  /// The events of poll(2) that are true now. Where `handle` is given, it is to be notified once they may have
  /// changed; it replaces an earlier one of the same file.
  func poll(_ events: UInt32, of file: OpenFile, notify handle: PollHandle?) throws(Errno) -> UInt32
}
