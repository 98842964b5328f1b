import CLinux
import Glibc

/// The time of day.
package enum WallClock {
  /// Nanoseconds since 1970, as file times count.
  package static var nanoseconds: Int {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec
  }
}
