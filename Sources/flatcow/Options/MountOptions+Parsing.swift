import BackingChain
import HostStorage
import StreamJob

extension MountOptions {
  /// Takes the words of an `-o` list over, later ones winning.
  mutating func apply(_ list: String) throws(CommandError) {
    for word in try OptionWord.words(in: list) { try apply(word) }
    try checkTogether()
  }

  /// Takes one option over. `origin` is shown before a complaint: "-o", or a file and line.
  mutating func apply(_ word: OptionWord, from origin: String = "-o") throws(CommandError) {
    if Self.ignored.contains(word.name) { return }
    guard let option = Self.known[word.name] else {
      throw CommandError(.usage, "\(origin) \(word.name): there is no such option; `flatcow mount --help` lists them")
    }
    guard option.set(&self, word.value) else {
      let given = word.value.map { "=\($0)" } ?? ""
      throw CommandError(.usage, "\(origin) \(word.name)\(given): expected \(word.name)\(option.expected)")
    }
  }

  private func checkTogether() throws(CommandError) {
    if !chain.locks && !chain.isReadOnly {
      throw CommandError(
        .usage, "-o lock=off: only with ro, since two writers destroy an image; add ro, or leave it out")
    }
  }

  /// What mount(8) and its helpers pass on, and what concerns only them.
  private static let ignored: Set<String> = [
    "nofail", "_netdev", "_rnetdev", "user", "users", "owner", "group", "noexec", "nosuid", "nodev", "dev", "suid",
    "noatime", "relatime", "sync", "pri", "auto", "noauto",
  ]

  /// How an option's value is written, and what sets it; `set` returns false where the value is none of these.
  private struct Option: Sendable {
    var expected: String
    var set: @Sendable (inout MountOptions, String?) -> Bool
  }

  private typealias Path<Value> = WritableKeyPath<MountOptions, Value> & Sendable

  private static let known: [String: Option] = [
    "ro": flag(\.chain.isReadOnly), "rw": flag(\.chain.isReadOnly, on: false),
    "stream": choice(\.job.start),
    "base": text { $0.job.base = Array($1.utf8) },
    "backing-file": text(mayBeEmpty: true) { $0.job.backingFile = Array($1.utf8) },
    "speed": size(\.job.speed), "on-error": choice(\.job.onError), "min-free": minimumFree,
    "cache": choice(\.cache),
    "discard": either("unmap", "ignore", \.chain.discardsToHost),
    "threads": number(in: 1...1024) { $0.threads = $1 },
    "no-space-timeout": number(in: 0...86_400) { $0.noSpaceTimeout = .seconds($1) },
    "lock": flag(\.chain.locks), "format": text { $0.chain.format = $1 },
    "backing-format": list(\.chain.backingFormats, separator: ":"),
    "backing-root": list(\.chain.backingRoots, separator: nil),
    "trust-chain": flag(\.chain.trustsChain), "no-backing": noBacking,
    "data-file": either("allow", "deny", \.chain.allowsDataFile),
    "allow-block": flag(\.chain.allowsBlockDevices),
    "max-depth": number(in: 1...65_536) { $0.chain.maxDepth = $1 },
    "bitmaps": Option(expected: "=drop") { options, value in
      options.chain.dropsBitmaps = value == "drop"
      return options.chain.dropsBitmaps
    },
    "uid": number(in: 0...Int(UInt32.max) - 1) { $0.owner = UInt32($1) },
    "gid": number(in: 0...Int(UInt32.max) - 1) { $0.group = UInt32($1) },
    "mode": Option(expected: "=MODE, octal, as in mode=0640") { options, value in
      guard let mode = value.flatMap({ UInt32($0, radix: 8) }), mode <= 0o777 else { return false }
      options.mode = mode
      return true
    },
    "allow_other": flag(\.allowsOthers), "fsname": text { $0.sourceName = $1 },
    "context": text { $0.securityContext = $1 },
  ]

  /// A word that stands alone; `=on` and `=off` let the command line undo what the configuration says.
  private static func flag(_ path: any Path<Bool>, on meaning: Bool = true) -> Option {
    Option(expected: ", =on or =off") { options, value in
      switch value {
      case nil, "", "on": options[keyPath: path] = meaning
      case "off": options[keyPath: path] = !meaning
      default: return false
      }
      return true
    }
  }

  /// One of two words, the first of which means true.
  private static func either(_ yes: String, _ no: String, _ path: any Path<Bool>) -> Option {
    Option(expected: "=\(yes) or =\(no)") { options, value in
      options[keyPath: path] = value == yes
      return value == yes || value == no
    }
  }

  private static func choice<Value: RawRepresentable<String> & CaseIterable & SendableMetatype>(_ path: any Path<Value>)
    -> Option
  {
    let names = Value.allCases.map { "=\($0.rawValue)" }
    return Option(expected: names.joined(separator: " or ")) { options, value in
      guard let chosen = value.flatMap(Value.init(rawValue:)) else { return false }
      options[keyPath: path] = chosen
      return true
    }
  }

  private static func text(
    mayBeEmpty: Bool = false, set: @escaping @Sendable (inout MountOptions, String) -> Void
  ) -> Option {
    Option(expected: "=TEXT") { options, value in
      guard let value, mayBeEmpty || !value.isEmpty else { return false }
      set(&options, value)
      return true
    }
  }

  /// An option that may be repeated; each adds to the list.
  private static func list(_ path: any Path<[String]>, separator: Character?) -> Option {
    let more = separator.map { "[\($0)TEXT…]" } ?? ""
    return Option(expected: "=TEXT\(more)") { options, value in
      guard let value, !value.isEmpty else { return false }
      options[keyPath: path] += separator.map { value.split(separator: $0).map(String.init) } ?? [value]
      return true
    }
  }

  private static func size(_ path: any Path<ByteCount>) -> Option {
    Option(expected: "=NUMBER with an optional K, M, G or T") { options, value in
      guard let size = value.flatMap(SizeText.parse) else { return false }
      options[keyPath: path] = size
      return true
    }
  }

  private static func number(
    in limits: ClosedRange<Int>, set: @escaping @Sendable (inout MountOptions, Int) -> Void
  ) -> Option {
    Option(expected: "=NUMBER from \(limits.lowerBound) to \(limits.upperBound)") { options, value in
      guard let number = value.flatMap({ Int($0) }), limits.contains(number) else { return false }
      set(&options, number)
      return true
    }
  }

  private static let minimumFree = Option(expected: "=NUMBER with an optional K, M, G or T, or =NUMBER%") {
    options, value in
    guard let value else { return false }
    if value.hasSuffix("%") {
      guard let percent = Int(value.dropLast()), (0...100).contains(percent) else { return false }
      options.job.minimumFree = .percent(percent)
    } else {
      guard let size = SizeText.parse(value) else { return false }
      options.job.minimumFree = .bytes(size)
    }
    return true
  }

  /// The top alone must not be written: what lies below it would be hidden by accident.
  private static let noBacking = Option(expected: ", =on or =off") { options, value in
    guard flag(\.chain.ignoresBacking).set(&options, value) else { return false }
    if options.chain.ignoresBacking { options.chain.isReadOnly = true }
    return true
  }
}
