import HostStorage

/// Asks all mounts of the host at once and waits for none of them longer than a second: one whose storage hangs must
/// not hide the others.
enum Survey {
  static let patience = Duration.seconds(1)

  /// Each mount, with what `question` found; nil for a dead or silent one.
  static func ask<Answer: Sendable>(
    _ mounts: [MountEntry], _ question: @escaping @Sendable (MountedTree) throws(CommandError) -> Answer
  ) -> [(mount: MountEntry, answer: Answer?)] {
    let answers = Monitor([Int: Answer?]())
    for (index, mount) in mounts.enumerated() {
      let started = try? HostThread.start(name: "survey") {
        let answer = try? question(MountedTree(mount))
        answers.withLock { $0[index] = .some(answer) }
      }
      if started == nil { answers.withLock { $0[index] = .some(nil) } }
    }
    _ = answers.wait(deadline: .now + patience) { $0.count == mounts.count ? () : nil }
    return answers.read { known in
      mounts.enumerated().map { ($0.element, known[$0.offset] ?? nil) }
    }
  }
}
