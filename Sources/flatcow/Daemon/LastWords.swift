import DiskExport

/// What a mount's process leaves to those who wait for its end: one word, and where something was lost, what.
struct LastWords: Equatable {
  private static let clean = "clean"
  private static let lost = "lost: "

  /// What was lost, a sentence; nil: nothing.
  let loss: String?

  init(_ outcome: MountedDisk.Outcome) {
    loss = if case .lost(let sentence) = outcome { sentence } else { nil }
  }

  /// Only the whole word says that all is well.
  init(_ text: String) {
    let sentence = text.hasPrefix(Self.lost) ? String(text.dropFirst(Self.lost.count)) : "its last word was \"\(text)\""
    loss = text == Self.clean ? nil : sentence
  }

  var text: String { loss.map { Self.lost + $0 } ?? Self.clean }
}
