import CLinux
import Glibc

/// Signals, taken by a thread that waits for them instead of a handler that interrupts anywhere.
package enum HostSignals {
  /// Undoes what the starter of this process may have left to it, and what would end it where an error can be told: no exit of
  /// a child could be waited for with SIGCHLD ignored, and a file that may not grow (RLIMIT_FSIZE, the file system's largest
  /// size) is an error of the write.
  package static func startAfresh() {
    signal(SIGCHLD, SIG_DFL)
    signal(SIGXFSZ, SIG_IGN)
  }

  /// Whether nobody wants to hear of it: nohup(1) has SIGHUP ignored, and a shell SIGINT for what runs in its background.
  package static func isIgnored(_ signal: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(signal, nil, &action) == 0 else { return false }
    // SIG_IGN, which is no function's address.
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
  }

  /// Keeps `signals` from every thread that is started after this call, and from the caller: they then arrive only at
  /// `wait`. To be called before the process has other threads. SIGPIPE becomes an error of the write.
  package static func hold(_ signals: [Int32]) {
    signal(SIGPIPE, SIG_IGN)
    var set = makeSet(signals)
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Waits for one of `signals`, which are held; nil when `time` has passed without one.
  package static func wait(for signals: [Int32], atMost time: Duration) -> Int32? {
    var set = makeSet(signals)
    let (seconds, attoseconds) = time.components
    var limit = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    let signal = unsafe sigtimedwait(&set, nil, &limit)
    return signal > 0 ? signal : nil
  }

  /// Waits for one of `signals`, which are held.
  package static func wait(for signals: [Int32]) -> Int32 {
    while true {
      if let signal = wait(for: signals, atMost: .seconds(3600)) { return signal }
    }
  }

  private static func makeSet(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal) }
    return set
  }
}
