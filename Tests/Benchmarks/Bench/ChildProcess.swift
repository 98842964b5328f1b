import CLinux
import Foundation
import Glibc

/// A process of ours. (Foundation's own waits for a socket that other children may hold open, too.)
final class ChildProcess {
  let id: Int32
  private var status: Int32?

  /// Starts a program that PATH leads to; of our descriptors it gets these three only.
  init(
    _ arguments: [String], environment: [String: String] = [:], input: FileHandle = .nullDevice, output: FileHandle,
    errors: FileHandle
  ) throws {
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    for (standard, handle) in zip(0..., [input, output, errors]) {
      unsafe posix_spawn_file_actions_adddup2(&actions, handle.fileDescriptor, Int32(standard))
    }
    flatcow_close_all_on_exec(3)
    // A terminal's Ctrl-C is for us alone, and the signals that we hold are not held there.
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

    var variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    // Where Debian keeps mkfs, and what a user's PATH may lack.
    variables["PATH", default: ""] += ":/usr/sbin:/sbin"
    var words = unsafe (["env"] + arguments).map { unsafe strdup($0) } + [nil]
    var settings = unsafe variables.map { unsafe strdup("\($0)=\($1)") } + [nil]
    defer { unsafe (words + settings).forEach { unsafe free($0) } }
    var child = pid_t()
    let failure = unsafe posix_spawn(&child, "/usr/bin/env", &actions, &attributes, &words, &settings)
    guard failure == 0 else { throw BenchError("\(arguments[0]) cannot be started (errno \(failure))") }
    id = child
  }

  /// How it ended, as a shell says it; nil while it runs.
  var exitCode: Int32? { status ?? reap(WNOHANG) }

  /// Returns how it ended when it has.
  @discardableResult
  func wait() -> Int32 { status ?? reap(0) ?? -1 }

  func send(_ signal: Int32) {
    if exitCode == nil { kill(id, signal) }
  }

  private func reap(_ options: Int32) -> Int32? {
    var raw: Int32 = 0
    var result = unsafe waitpid(id, &raw, options)
    while result < 0, errno == EINTR { result = unsafe waitpid(id, &raw, options) }
    if result == 0 { return nil }
    status = result < 0 ? -1 : raw & 0x7F == 0 ? raw >> 8 & 0xFF : 128 + raw & 0x7F
    return status
  }
}
