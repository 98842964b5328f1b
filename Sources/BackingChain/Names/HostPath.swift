import HostStorage

/// A file name as the host sees it: bytes without a meaning as text.
///
/// Nothing here looks at the host; `resolved` in a name or a comment means absolute and without symbolic links.
package struct HostPath: Hashable, Sendable {
  package var bytes: [UInt8]

  package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  package init(_ text: String) { self.init(text.utf8) }

  package static let root = HostPath("/")
  private static let slash = UInt8(ascii: "/")

  package var isAbsolute: Bool { bytes.first == Self.slash }

  private var components: [ArraySlice<UInt8>] { bytes.split(separator: Self.slash) }

  private init(components: some Sequence<ArraySlice<UInt8>>, isAbsolute: Bool) {
    self.init((isAbsolute ? [Self.slash] : []) + Array(components.joined(separator: [Self.slash])))
    if bytes.isEmpty { self.init(".") }
  }

  package var lastComponent: HostPath { HostPath(components.last ?? []) }

  /// The name without its last component: `.` for a single one, `/` for the root.
  package var directory: HostPath { HostPath(components: components.dropLast(), isAbsolute: isAbsolute) }

  /// `name` as it is found from this directory.
  package func appending(_ name: HostPath) -> HostPath {
    name.isAbsolute ? name : HostPath(bytes + [Self.slash] + name.bytes)
  }

  /// The name with `.` and `..` worked out as if there were no symbolic links.
  package var simplified: HostPath {
    var kept: [ArraySlice<UInt8>] = []
    for component in components where component != [UInt8(ascii: ".")] {
      let isParent = component.elementsEqual("..".utf8)
      if isParent, let last = kept.last, !last.elementsEqual("..".utf8) {
        kept.removeLast()
      } else if !isParent || !isAbsolute {
        kept.append(component)
      }
    }
    return HostPath(components: kept, isAbsolute: isAbsolute)
  }

  /// The directories that the name goes into and out of again by `..`.
  package var detours: [HostPath] {
    let components = self.components
    let isUp = components.map { $0.elementsEqual("..".utf8) }
    return components.indices.dropFirst().filter { isUp[$0] && !isUp[$0 - 1] }.map {
      HostPath(components: components[..<$0], isAbsolute: isAbsolute)
    }
  }

  /// Whether this is `directory` or something below it; both resolved.
  package func isInside(_ directory: HostPath) -> Bool {
    components.starts(with: directory.components, by: ==)
  }

  /// The way from `directory` to this file; both resolved. Never mistaken for a protocol's prefix.
  package func relative(to directory: HostPath) -> HostPath {
    let (own, other) = (components, directory.components)
    let shared = zip(own, other).prefix { $0 == $1 }.count
    let up = Array(repeating: ArraySlice("..".utf8), count: other.count - shared)
    let path = HostPath(components: up + own.dropFirst(shared), isAbsolute: false)
    return path.hasProtocol ? HostPath("./".utf8 + path.bytes) : path
  }

  /// Whether QEMU takes the name for a protocol's: a colon comes before any slash.
  package var hasProtocol: Bool { bytes.first { $0 == Self.slash || $0 == UInt8(ascii: ":") } == UInt8(ascii: ":") }
}

extension HostPath: CustomStringConvertible {
  package var description: String { printable(bytes) }
}
