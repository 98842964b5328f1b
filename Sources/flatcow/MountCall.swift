import HostStorage

/// A call by mount(8) or umount(8), whose helpers have a grammar and exit codes of their own.
///
/// ```
/// mount.flatcow SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]
/// umount.flatcow DIR|SPEC [-flnrv] [-t TYPE]
/// ```
struct MountCall: Equatable {
  var names: [String] = []
  var flags: Set<Character> = []
  var options: [String] = []

  /// Takes the arguments apart; `flags` are those without a value.
  init(_ arguments: [String], flags known: Set<Character>) throws(CommandError) {
    var rest = arguments[...]
    while let word = rest.popFirst() {
      if word == "-o" || word == "-t" {
        guard let value = rest.popFirst() else { throw CommandError(.usage, "\(word): its value is missing") }
        if word == "-o" { options.append(value) }
      } else if word.hasPrefix("-"), word.count > 1 {
        guard known.isSuperset(of: word.dropFirst()) else {
          throw CommandError(.usage, "\(word): there is no such option")
        }
        flags.formUnion(word.dropFirst())
      } else {
        names.append(word)
      }
    }
  }

  /// Runs as the helper that `name` calls for; nil when it is none.
  static func run(as name: String, _ arguments: [String]) -> Outcome? {
    if name.hasPrefix("mount.") { return code(name) { () throws(CommandError) in try mount(arguments) } }
    if name.hasPrefix("umount.") { return code(name) { () throws(CommandError) in try unmount(arguments) } }
    return nil
  }

  private static func code(_ name: String, _ body: () throws(CommandError) -> Outcome) -> Outcome {
    do {
      return try body()
    } catch {
      StandardStream.error.write("\(name): \(error.sentence)\n")
      return error.outcome.forMount
    }
  }

  private static func mount(_ arguments: [String]) throws(CommandError) -> Outcome {
    let call = try MountCall(arguments, flags: ["s", "f", "n", "v"])
    guard call.names.count == 2 else {
      throw CommandError(.usage, "usage: mount.flatcow IMAGE MOUNTPOINT [-sfnv] [-o OPTIONS]")
    }
    var options = try Configuration.defaults()
    for list in call.options {
      if try OptionWord.words(in: list).contains(where: { $0.name == "remount" }) {
        throw CommandError(.environment, "\(call.names[1]): a mount cannot be changed; umount it and mount it anew")
      }
      try options.apply(list)
    }
    // Here -f is "fake": all but the mount itself.
    if call.flags.contains("f") { return .done }
    return Flatcow.run(["mount"] + call.options.flatMap { ["-o", $0] } + ["--"] + call.names).forMount
  }

  private static func unmount(_ arguments: [String]) throws(CommandError) -> Outcome {
    let call = try MountCall(arguments, flags: ["f", "l", "n", "r", "v"])
    guard call.names.count == 1 else {
      throw CommandError(.usage, "usage: umount.flatcow MOUNTPOINT|IMAGE [-flnrv]")
    }
    // umount(8) passes on what it was given: the directory, which may hang when it is looked at, or what is mounted on it.
    let name = call.names[0]
    let mounts = try MountTable.flatcowMounts()
    let byName = mounts.last { $0.mountpoint == absolute(name) } ?? mounts.last { $0.source == name }
    let entry = byName ?? resolved(name).flatMap { place in mounts.last { $0.source == place } }
    let tree = if let entry { MountedTree(entry) } else { try MountedTree(at: name) }
    try tree.unmount(lazily: call.flags.contains("l"))
    return .done
  }
}

extension Outcome {
  /// mount(8) knows 1, incorrect invocation, and 32, mount failure.
  fileprivate var forMount: Outcome {
    self == .done || self == .usage ? self : Outcome(code: 32)
  }
}
