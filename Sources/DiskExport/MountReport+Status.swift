import BackingChain
import Glibc
import HostStorage
import ImageFormat
import StreamJob

extension MountReport {
  /// `status.json`: an object with
  ///
  /// * `pid`, `mountpoint`, `image` (the active layer's path), `read_only`, `virtual_size`;
  /// * `layers`, top first: `index`, `format`, `virtual_size`, `path`;
  /// * `control`: the recorded backing-file string, or null;
  /// * `armed`: the string that the job will complete with, or null;
  /// * `state`, `done`, `total`, `remaining`, `copied`, `speed`, `on_error`, `base` (null: none), `error`: the job, as
  ///   in `stream/`, and the bytes it has copied since the mount;
  /// * `paused_by`: any of "user", "error", "space";
  /// * `durability`: "ok", "failing" or "lost"; `durability_error`: the failure, a sentence, or null;
  /// * `parked_writes`: write-backs that wait for space; `last_error`: the last fault of `disk`, or null.
  var status: JSONText {
    let layers = chain.snapshot.layers
    let job = job.status
    let durability = chain.durability
    return .object(
      [
        ("pid", .number(Int(getpid()))),
        ("mountpoint", .text(mountPoint)),
        ("image", .text(layers[0].path)),
        ("read_only", .bool(!chain.isWritable)),
        ("virtual_size", .number(chain.virtualSize.bytes)),
        ("layers", .list(layers.enumerated().map { Self.members(of: $1, index: $0) })),
        ("control", layers[0].image.backing.map { .bytes($0.name) } ?? .null),
        ("armed", job.armed.map { .bytes($0) } ?? .null),
      ] + members(of: job) + [
        ("durability", .text(Self.word(for: durability))),
        ("durability_error", durability.failure.map { .text($0.message) } ?? .null),
        ("parked_writes", .number(disk.parked.count)),
        ("last_error", disk.faults.last.isEmpty ? .null : .text(disk.faults.last)),
      ])
  }

  private static func word(for durability: Durability) -> String {
    switch durability {
    case .kept: "ok"
    case .failing: "failing"
    case .lost: "lost"
    }
  }

  private static func members(of layer: Layer, index: Int) -> JSONText {
    .object([
      ("index", .number(index)), ("format", .text(layer.image.format)),
      ("virtual_size", .number(layer.virtualSize.bytes)), ("path", .text(layer.path)),
    ])
  }

  private func members(of status: StreamStatus) -> [(name: String, value: JSONText)] {
    let pause = status.pause
    let reasons = [("user", pause.byUser), ("error", pause.error != nil), ("space", pause.space != nil)]
    return [
      ("state", .text(status.state.rawValue)),
      ("done", .number(status.done.bytes)),
      ("total", .number(status.total.bytes)),
      ("remaining", .number(status.remaining.bytes)),
      ("copied", .number(status.copied.bytes)),
      ("speed", .number(status.speed.bytes)),
      ("on_error", .text(status.onError.rawValue)),
      ("base", status.base.map { .text($0) } ?? .null),
      ("error", .text(error(status))),
      ("paused_by", .list(reasons.filter(\.1).map { .text($0.0) })),
    ]
  }
}
