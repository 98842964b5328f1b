import Foundation
import Glibc

/// One run of fio.
struct Fio {
  enum Work: String {
    case randomReads = "randread"
    case sequentialReads = "read"
    case randomWrites = "randwrite"
    case sequentialWrites = "write"

    var isReading: Bool { self == .randomReads || self == .sequentialReads }
  }

  /// What ends it.
  enum Extent {
    case seconds(Double)
    /// So many bytes altogether.
    case bytes(Int)
    /// A block at each of these offsets, in this order; with a sync after each, or not.
    case blocks(at: [Int], isSynced: Bool = false)
  }

  var work: Work
  var block = "4k"
  /// Random offsets are multiples of this; nil: of a block.
  var stride: Int?
  var depth = 1
  var extent = Extent.seconds(1.5)
  /// Past the page cache of the file system that is asked.
  var isDirect = true
  /// Threads, each of which does all of it.
  var threads = 1
  /// Other options, as fio knows them.
  var options: [String] = []
  /// Whether the latencies are wanted; measuring them costs a little.
  var isLatencyKept = false

  /// What it found.
  struct Outcome {
    let operationsPerSecond: Double
    let mebibytesPerSecond: Double
    let operations: Double
    let seconds: Double
    let meanMicroseconds: Double
    let p99Microseconds: Double
  }

  func run(on file: String, seed: Int = 1) throws -> Outcome {
    let list = FileManager.default.temporaryDirectory.appending(path: "flatcow-bench-\(getpid()).iolog")
    defer { try? FileManager.default.removeItem(at: list) }
    var arguments = [
      "fio", "--output-format=json", "--name=bench", "--filename=\(file)", "--rw=\(work.rawValue)", "--bs=\(block)",
      "--direct=\(isDirect ? 1 : 0)", "--iodepth=\(depth)", "--ioengine=\(depth > 1 ? "libaio" : "psync")",
      "--numjobs=\(threads)", "--group_reporting", "--thread", "--invalidate=0", "--randseed=\(seed)",
      "--allow_file_create=0",
    ]
    switch extent {
    case .seconds(let seconds): arguments += ["--time_based", "--runtime=\(Int(seconds * 1000))ms"]
    case .bytes(let bytes): arguments += ["--io_size=\(bytes)"]
    case .blocks(let offsets, let isSynced):
      // Which random blocks fio would choose can hardly be told, and some of them twice.
      let action = work.isReading ? "read" : "write"
      let lines = offsets.map { "\(file) \(action) \($0) 4096" + (isSynced ? "\n\(file) sync 0 0" : "") }
      let all = ["fio version 2 iolog", "\(file) add", "\(file) open"] + lines + ["\(file) close", ""]
      try all.joined(separator: "\n").write(to: list, atomically: false, encoding: .utf8)
      arguments.append("--read_iolog=\(list.path)")
    }
    if let stride { arguments += ["--blockalign=\(stride)", "--norandommap"] }
    if !isLatencyKept { arguments.append("--gtod_reduce=1") }
    let report = try Program.run(arguments + options)
    // Before its JSON, fio may say a word of its own.
    let json = Data(report.drop { $0 != "{" }.utf8)
    guard let job = try JSONDecoder().decode(Report.self, from: json).jobs.first else {
      throw BenchError("fio reported nothing about \(file)")
    }
    let found = work.isReading ? job.read : job.write
    return Outcome(
      operationsPerSecond: found.iops, mebibytesPerSecond: found.bw_bytes / 1_048_576, operations: found.total_ios,
      seconds: found.runtime / 1000, meanMicroseconds: found.clat_ns.mean / 1000,
      p99Microseconds: (found.clat_ns.percentile?["99.000000"] ?? .nan) / 1000)
  }

  private struct Report: Decodable {
    let jobs: [Job]
  }

  private struct Job: Decodable {
    let read: Direction
    let write: Direction
  }

  private struct Direction: Decodable {
    let iops: Double
    let bw_bytes: Double
    let total_ios: Double
    let runtime: Double
    let clat_ns: Latency
  }

  private struct Latency: Decodable {
    let mean: Double
    let percentile: [String: Double]?
  }
}
