import FUSESession
import HostStorage
import ImageFormat

/// What only a user of `disk` can have the kernel do: write back what is dirty of its pages, and put its size right. A
/// thread of this process is that user; it has the disk open from one errand to the next close by anybody else, so that the
/// mount is never in use by it alone.
///
/// The kernel holds the inode's lock for whoever seeks, and wants it for a close and for a new size: a seek never waits for
/// these two. Whoever waits, waits for a while and then does without.
final class DiskErrands: Sendable {
  private enum Errand: Equatable {
    case writeBack(HostRange)
    case restoreSize
    case close

    /// Whether the kernel wants the inode's lock for it.
    var needsLock: Bool { if case .writeBack = self { false } else { true } }
  }

  private struct State {
    var thread: HostThread?
    /// Whether the thread has let go of the process' descriptors. Some of them may be files of this mount, whose close wants
    /// the inode's lock, too.
    var isReady = false
    /// The number of the thread, while it opens the disk.
    var opener: Int32?
    var hasArrived = false
    /// Whether it has the disk open.
    var isOpen = false
    /// No errand can be done any more, or by this kernel.
    var isOver = false

    var running: Errand?
    var runningSince = SuspendingClock.now
    /// What is to be done next; at most one of each kind.
    var writeBack: HostRange?
    var wantsSize = false
    var wantsClose = false
    /// Write-backs that were asked for and that are done, and whether the last one succeeded.
    var asked = 0
    var done = 0
    var succeeded = false

    var isIdle: Bool { running == nil && writeBack == nil && !wantsSize && !wantsClose }
    var needsLock: Bool { running?.needsLock == true || wantsSize || wantsClose }

    /// A write-back comes first: whoever asked has seen that nothing that needs the lock was wanted.
    mutating func next() -> Errand? {
      if let range = writeBack.take() { return .writeBack(range) }
      if wantsSize {
        wantsSize = false
        return .restoreSize
      }
      if wantsClose {
        wantsClose = false
        return .close
      }
      return nil
    }
  }

  /// A host that is not broken needs less for what may be dirty.
  private static let patience: Duration = .seconds(5)

  private let state = Monitor(State())
  private let path: String
  private let size: ByteCount

  init(mountPoint: String, size: ByteCount) {
    path = "\(mountPoint)/\(Node.disk.name)"
    self.size = size
  }

  /// Somebody is about to write through the kernel's cache: there will be errands.
  func start() {
    state.withLock { state in
      guard state.thread == nil, !state.isOver else { return }
      // Without a thread, what may be dirty is never known to be written.
      state.thread = try? HostThread.start(name: "flatcow-errand") { self.run() }
    }
  }

  /// Whether an open of `disk` by `caller` is this thread's own.
  func takes(openBy caller: Caller) -> Bool {
    state.withLock { state in
      guard let opener = state.opener, opener == caller.process else { return false }
      state.hasArrived = true
      return true
    }
  }

  /// Whether `caller` is this thread, on its way to open the disk.
  func isOpening(_ caller: Caller) -> Bool { state.read { $0.opener != nil && $0.opener == caller.process } }

  /// Has the kernel write back what is dirty in `range`. False where it is not known that it has, in time. `seeking`: the
  /// kernel holds the inode's lock until the answer.
  func writeBack(_ range: HostRange, seeking: Bool) -> Bool {
    let number = state.wait(deadline: .now + Self.patience) { state -> Int? in
      if state.isOver || !state.isReady || seeking && state.needsLock { return 0 }
      if !state.isIdle { return state.runningSince + Self.patience < .now ? 0 : nil }
      state.writeBack = range
      state.asked += 1
      return state.asked
    }
    guard let number, number > 0 else { return false }
    return state.wait(deadline: .now + Self.patience) { $0.done >= number ? $0.succeeded : nil } ?? false
  }

  /// Has the kernel's idea of the size put right, soon.
  func restoreSize() {
    state.withLock { $0.wantsSize = $0.thread != nil && !$0.isOver }
  }

  /// Somebody closes the disk: the mount is in use no more by this. `waiting`: returns when that is so.
  func letGo(waiting: Bool) {
    let isIdle = state.withLock { state in
      guard state.isReady else { return true }
      if state.isOpen || !state.isIdle { state.wantsClose = true }
      return state.isIdle
    }
    if isIdle || !waiting { return }
    state.wait(deadline: .now + Self.patience) { $0.isIdle || $0.isOver ? () : nil }
  }

  /// Ends the thread. The mount has ended.
  func end() {
    let thread = state.withLock { state in
      state.isOver = true
      return state.thread
    }
    thread?.join()
  }

  private func run() {
    var file: VisitedFile?
    let isApart = VisitedFile.takeOwnDescriptors()
    state.withLock { state in
      state.isReady = true
      state.isOver = state.isOver || !isApart
    }
    while let errand = begin() {
      var succeeded = false
      switch errand {
      case .close: file = nil
      case .restoreSize, .writeBack:
        if file == nil { file = open() }
        succeeded = Self.perform(errand, on: file, size: size)
      }
      let isOpen = file != nil
      state.withLock { state in
        state.isOpen = isOpen
        state.running = nil
        if case .writeBack = errand {
          state.done += 1
          state.succeeded = succeeded
        }
      }
    }
  }

  /// nil: there will be no more.
  private func begin() -> Errand? {
    state.wait { state -> Errand?? in
      if state.isOver { return .some(nil) }
      guard let errand = state.next() else { return nil }
      state.running = errand
      state.runningSince = .now
      return .some(errand)
    }
  }

  private static func perform(_ errand: Errand, on file: VisitedFile?, size: ByteCount) -> Bool {
    guard let file else { return false }
    do throws(StorageError) {
      switch errand {
      case .writeBack(let range): try file.writeBack(range)
      case .restoreSize: try file.resize(to: size)
      case .close: break
      }
      return true
    } catch {
      return false
    }
  }

  /// Another mount, or a plain directory, may have come to lie at the path: the open must arrive here.
  private func open() -> VisitedFile? {
    state.withLock { state in
      state.opener = VisitedFile.threadID
      state.hasArrived = false
    }
    let file = try? VisitedFile(path)
    let hasArrived = state.withLock { state in
      state.opener = nil
      return state.hasArrived
    }
    return hasArrived ? file : nil
  }
}
