import BackingChain
import Glibc
import HostStorage
import ImageFormat
import StreamJob

/// What can be read about a mount, file by file. Nothing here touches an image, so it answers whatever hangs.
struct MountReport: Sendable {
  let chain: BackingChain
  let job: StreamJob
  let disk: DiskFile
  let control: ControlFile
  let mountPoint: String

  /// What stands in a file now.
  func text(of node: Node) -> [UInt8] {
    switch node {
    case .control: control.text
    case .chain: Array(chainLines.utf8)
    case .status: Array((status.written + "\n").utf8)
    case .metrics: Array(metrics.utf8)
    default: Array((value(of: node) + "\n").utf8)
    }
  }

  private func value(of node: Node) -> String {
    let status = job.status
    return switch node {
    case .state: status.state.rawValue
    case .progress: "\(status.done.bytes) \(status.total.bytes)"
    case .remaining: "\(status.remaining.bytes)"
    case .speed: "\(status.speed.bytes)"
    case .onError: status.onError.rawValue
    case .base: status.base ?? ""
    case .error: error(status)
    default: ""
    }
  }

  /// The job's last error; where there is none, why what was written is not durable.
  func error(_ status: StreamStatus) -> String {
    let durability = chain.durability
    return status.error.isEmpty && durability.failure != nil ? durability.sentence : status.error
  }

  private var chainLines: String {
    chain.snapshot.layers.enumerated().map { index, layer in
      "\(index) \(layer.image.format) \(layer.virtualSize.bytes) \(layer.path)\n"
    }.joined()
  }
}
