import CLinux
import Glibc

/// A thread of its own for work that may block; Swift's cooperative pool must never be blocked.
package final class HostThread: Sendable {
  private let hasEnded = Monitor(false)

  private init() {}

  /// Starts a thread that runs `body` and ends. Dropping the result leaves the thread running. `name` is what `top -H`
  /// shows, cut to the kernel's 15 bytes.
  ///
  /// Throws EAGAIN where the host has no more threads to give.
  @discardableResult
  package static func start(
    name: String, _ body: sending @escaping () -> Void
  ) throws(StorageError) -> HostThread {
    let thread = HostThread()
    let start = ThreadStart(name: name, body: body, thread: thread)
    // The reference is released by the thread itself, or here where there is none.
    let argument = unsafe Unmanaged.passRetained(start)
    var handle = pthread_t()
    let failure = unsafe pthread_create(
      &handle, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        unsafe Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      },
      argument.toOpaque())
    guard failure == 0 else {
      unsafe argument.release()
      throw StorageError(errno: failure, operation: "start a thread", path: name)
    }
    pthread_detach(handle)
    return thread
  }

  /// Gives the calling thread a name, cut to 15 bytes. The first thread's is the process's: `ps` shows it, and whoever
  /// finds an image locked reads it.
  package static func nameCurrent(_ name: String) {
    _ = unsafe pthread_setname_np(pthread_self(), String(decoding: name.utf8.prefix(15), as: UTF8.self))
  }

  /// Lets the calling thread sleep; a signal may end it early.
  package static func sleep(_ time: Duration) {
    let (seconds, attoseconds) = time.components
    var rest = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    _ = unsafe nanosleep(&rest, nil)
  }

  /// Returns when the body has returned. Any number of threads may join.
  package func join() {
    hasEnded.wait { $0 ? () : nil }
  }

  /// What a new thread is handed.
  private final class ThreadStart {
    let name: String
    let body: () -> Void
    let thread: HostThread

    init(name: String, body: @escaping () -> Void, thread: HostThread) {
      self.name = name
      self.body = body
      self.thread = thread
    }

    func run() {
      HostThread.nameCurrent(name)
      body()
      thread.hasEnded.withLock { $0 = true }
    }
  }
}
