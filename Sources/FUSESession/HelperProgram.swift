import Glibc

/// Runs libfuse's setuid helper.
enum HelperProgram {
  /// Runs the first of `paths` that exists (a bare name is looked for along PATH), with an empty environment, and
  /// waits for it. Returns its exit status, or -1, and the first line that it wrote to its standard error; nil
  /// when none could be started.
  static func run(_ paths: [String], _ arguments: [String]) -> (status: Int32, words: String)? {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { return nil }
    defer { close(ends[0]) }
    let process = start(paths, arguments, standardError: ends[1])
    close(ends[1])
    guard let process else { return nil }
    var line = [UInt8](repeating: 0, count: 512)
    let count = unsafe max(0, read(ends[0], &line, line.count))
    // What is not heard of has not succeeded.
    var status: Int32 = -1
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
    let words = String(decoding: line.prefix(count).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    return (status & 0x7f == 0 ? status >> 8 & 0xff : -1, words)
  }

  private static func start(_ paths: [String], _ arguments: [String], standardError: Int32) -> pid_t? {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, standardError, 2)
    return withCStrings(arguments) { argv in
      for path in paths {
        var process = pid_t()
        if unsafe posix_spawnp(&process, path, &actions, nil, argv, nil) == 0 { return process }
      }
      return nil
    }
  }
}
