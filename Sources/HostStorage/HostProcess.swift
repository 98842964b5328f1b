import CLinux
import Glibc

/// Processes that the command starts or waits for.
package enum HostProcess {
  /// Opens what is closed of the three standard descriptors: an image that took the number of one would be written with
  /// messages. To be called before anything else is opened.
  package static func openStandardDescriptors() {
    // The lowest free number is the next one that is closed.
    for standard in 0...2 as ClosedRange<Int32> where fcntl(standard, F_GETFD) == -1 {
      _ = unsafe open("/dev/null", O_RDWR)
    }
  }

  /// Tells the kernel that the calling thread, and every one that it starts from now on, serves a file system: where memory is
  /// short, none of them waits for pages that only itself can write back. Takes CAP_SYS_RESOURCE; false without, and nothing
  /// is changed.
  @discardableResult
  package static func becomeIOFlusher() -> Bool { flatcow_become_io_flusher() == 0 }

  /// Has all threads share one heap, to be called before there are any. By default threads have heaps of their own, and a
  /// table that one of them frees is of no use to the others.
  package static func shareHeaps() { _ = flatcow_limit_heaps(1) }

  /// Starts this program again, in a session of its own, and waits until it has reported how its start went: the byte
  /// of its `report`, or nil when it ended without one. It shares the standard descriptors and the working directory
  /// until it reports.
  ///
  /// `arguments` is told the descriptor to report on. Of the caller's descriptors the daemon gets only `keeping`:
  /// somebody may wait for the others to be closed.
  package static func startDaemon(
    keeping descriptors: [Int32], arguments: (Int32) -> [String]
  ) throws(StorageError) -> UInt8? {
    var ends: [Int32] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else { throw StorageError(errno: errno, operation: "start", path: "a pipe") }
    defer { close(ends[0]) }
    flatcow_close_all_on_exec(3)
    let child = Result { () throws(StorageError) in
      try spawn("/proc/self/exe", arguments(ends[1]), newSession: true, keeping: descriptors + [ends[1]])
    }
    // While this process holds the writing end too, the daemon's silent end could not be told from its silence.
    close(ends[1])
    _ = try child.get()
    var report: UInt8 = 0
    while true {
      let got = unsafe read(ends[0], &report, 1)
      if got < 0, errno == EINTR { continue }
      return got == 1 ? report : nil
    }
  }

  /// In the daemon: tells the waiting starter how the start went. One that went well also leaves the terminal and the
  /// working directory, which would otherwise be kept busy.
  package static func report(_ outcome: UInt8, on descriptor: Int32) {
    var outcome = outcome
    _ = unsafe write(descriptor, &outcome, 1)
    close(descriptor)
    guard outcome == 0 else { return }
    let null = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    for standard in 0...2 as ClosedRange<Int32> { dup2(null, standard) }
    close(null)
    _ = unsafe chdir("/")
  }

  /// Runs a program to its end and returns its exit code; 128 and the signal's number when one ended it. Throws where
  /// it cannot be started.
  package static func run(_ program: String, _ arguments: [String]) throws(StorageError) -> Int32 {
    let child = try spawn(program, [program] + arguments, newSession: false, keeping: [])
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0 {
      if errno != EINTR { throw StorageError(errno: errno, operation: "wait for", path: program) }
    }
    return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
  }

  private static func spawn(
    _ program: String, _ arguments: [String], newSession: Bool, keeping descriptors: [Int32]
  ) throws(StorageError) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    for kept in descriptors {
      // Onto itself: that takes close-on-exec away.
      unsafe posix_spawn_file_actions_adddup2(&actions, kept, kept)
    }
    // The signals that this process blocks for its own ends are the child's own business.
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    let flags = Int32(POSIX_SPAWN_SETSIGMASK) | (newSession ? FLATCOW_POSIX_SPAWN_SETSID : 0)
    unsafe posix_spawnattr_setflags(&attributes, Int16(flags))

    var list = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe list.forEach { unsafe free($0) } }
    var child = pid_t()
    let failure = unsafe posix_spawn(&child, program, &actions, &attributes, &list, environ)
    if failure != 0 { throw StorageError(errno: failure, operation: "start", path: program) }
    return child
  }
}
