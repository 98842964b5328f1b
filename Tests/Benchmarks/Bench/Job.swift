import Foundation
import Glibc

/// The job that populates an image, of whoever has one, behind an export.
struct Job {
  let export: Export
  let disk: Disk

  func start() throws {
    switch export.peer {
    case .flatcow: try write("running", to: "stream/state")
    default: try export.monitor?.ask("block-stream", #"{"job-id":"job","device":"top"}"#)
    }
  }

  /// Starts it, and returns when everything is durable in the active layer and nothing below is needed.
  func runToTheEnd() throws {
    switch export.peer {
    case .flatcow: try write("", to: "control")
    default:
      try start()
      guard let event = try export.monitor?.awaitEvent("BLOCK_JOB_COMPLETED"), !event.contains("error") else {
        throw BenchError("block-stream failed")
      }
      let image = try FileHandle(forUpdating: URL(filePath: disk.path(disk.top)))
      try image.synchronize()
    }
  }

  /// The bytes that it has done; nil when it is not running.
  func progress() throws -> Double? {
    switch export.peer {
    case .flatcow:
      let status = try String(contentsOfFile: "\(export.mountpoint)/status.json", encoding: .utf8)
      guard status.contains(/"state": *"running"/) else { return nil }
      return status.firstMatch(of: /"copied": *(\d+)/).flatMap { Double($0.1) }
    default:
      let jobs = try export.monitor?.ask("query-block-jobs") ?? ""
      return jobs.firstMatch(of: /"offset": *(\d+)/).flatMap { Double($0.1) }
    }
  }

  private func write(_ word: String, to file: String) throws {
    let handle = try FileHandle(forWritingTo: URL(filePath: "\(export.mountpoint)/\(file)"))
    try handle.write(contentsOf: Data("\(word)\n".utf8))
    try handle.close()
  }
}

/// How long `body` takes, in seconds.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  try ContinuousClock().measure(body) / .seconds(1)
}
