/// A file descriptor that is closed when its owner ends.
struct OwnedDescriptor: ~Copyable {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  deinit { Syscall.close(number) }

  /// Hands it over to an owner that closes it otherwise.
  consuming func release() -> Int32 {
    let number = number
    discard self
    return number
  }
}
