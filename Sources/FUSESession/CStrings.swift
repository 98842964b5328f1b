import Glibc

/// Lends `strings` as a C argument vector that ends with a null pointer.
@safe
func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  let vector = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
  for (index, string) in strings.enumerated() { unsafe vector[index] = unsafe strdup(string) }
  unsafe vector[strings.count] = nil
  defer {
    for index in strings.indices { unsafe free(vector[index]) }
    unsafe vector.deallocate()
  }
  return unsafe body(vector)
}
