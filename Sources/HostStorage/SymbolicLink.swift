/// What the symbolic link `name` holds; nil where `name` is none.
package func symbolicLink(at name: [UInt8]) -> [UInt8]? {
  try? Syscall.readLink(name)
}
