import Testing

/// What code may not do.
@Suite struct SafetyTests {
  /// The rooms that touch memory or C by hand: system calls, byte loads, libfuse.
  static let unsafeRooms: Set<String> = ["HostStorage", "ImageFormat", "FUSESession"]

  /// Files elsewhere that have to, and why.
  static let unsafeFiles: [String: String] = [
    "Sources/Qcow2Format/Compression/Inflater.swift": "libdeflate and libzstd take pointers"
  ]

  @Test func unsafeCodeStaysInItsRooms() {
    for file in SourceTree.sources where !Self.unsafeRooms.contains(file.module) && Self.unsafeFiles[file.path] == nil {
      for place in file.places(of: /\bunsafe\b|\bUnsafe\w*Pointer|@unsafe|@safe\b/) {
        Issue.record("\(place): unsafe code belongs in \(Self.unsafeRooms.sorted()); use Span and OutputSpan here")
      }
    }
  }

  /// Place and reason of each permitted use of a forbidden word.
  static let exceptions: [String: String] = [:]

  @Test func noChecksAreSwitchedOff() {
    let words = /@unchecked\b|nonisolated\(unsafe\)|\btry!|\bas!|@preconcurrency\b|\bassumeIsolated\b|-Ounchecked/
    for file in SourceTree.swift where file.module != "TidyTests" {
      for place in file.places(of: words) where Self.exceptions[place] == nil {
        Issue.record("\(place): a Mutex, a typed error or an optional binding says the same with a check")
      }
    }
  }

  @Test func allTargetsAreStrict() {
    let manifest = SourceTree.text("Package.swift")
    #expect(manifest.contains(".treatAllWarnings(as: .error)") && manifest.contains(".strictMemorySafety()"))
    let swiftTargets = manifest.matches(of: /(executableTarget|\.target|testTarget)\(/).count
    #expect(manifest.matches(of: /swiftSettings: strict/).count == swiftTargets, "a target without `strict`")
  }

  @Test func nothingIsLeftUndone() {
    let marks = /\b(TODO|FIXME|XXX|HACK)\b|fatalError\("(not|un)impl/
    for file in SourceTree.sources {
      for (index, line) in file.lines.enumerated() where line.contains(marks) {
        Issue.record("\(file.path):\(index + 1): do it, or open an issue")
      }
    }
  }
}
