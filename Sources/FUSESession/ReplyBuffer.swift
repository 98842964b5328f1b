import Glibc

/// Each thread's buffer for the bytes of one reply, page-aligned and reused.
enum ReplyBuffer {
  /// The most that the kernel asks for in one request: libfuse 3.14 agrees to 256 pages.
  static let capacity = 256 * Int(getpagesize())

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let result = unsafe pthread_key_create(&key) { unsafe free($0) }
    precondition(result == 0, "a process has at most 1024 thread-local keys, and they are used up")
    return key
  }()

  /// The calling thread's buffer, `capacity` bytes; nil when the host has no memory. It is valid until the thread
  /// ends; its bytes until the next use.
  static func ofThisThread() -> UnsafeMutableRawPointer? {
    if let buffer = unsafe pthread_getspecific(key) { return unsafe buffer }
    guard let buffer = unsafe aligned_alloc(Int(getpagesize()), capacity) else { return nil }
    unsafe pthread_setspecific(key, buffer)
    return unsafe buffer
  }
}
