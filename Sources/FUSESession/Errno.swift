/// The answer to a request that fails: an error number of errno(3).
package struct Errno: Error, Hashable, RawRepresentable, Sendable {
  package let rawValue: Int32

  package init(rawValue: Int32) { self.rawValue = rawValue }
  package init(_ rawValue: Int32) { self.rawValue = rawValue }
}
