import Foundation
import HostStorage
import ImageFormat
import TestSupport

/// What QEMU asks of an image's file when its guest does the same: `qemu-io`, one command after the other, over a log of the
/// writes.
struct QemuProgram {
  private let images: CrashImages
  private let folder: CrashFolder
  private var oracle: SectorOracle
  private var names: HeaderNames
  private var log: [StorageOperation] = []
  private var steps: [CrashProgram.Step] = []

  private static let image =
    #"json:{"driver":"qcow2","discard":"unmap","file":{"driver":"blklogwrites","#
    + #""file":{"driver":"file","filename":"top.qcow2"},"log":{"driver":"file","filename":"log"}}}"#

  init(_ geometry: CrashGeometry, seed: UInt64) throws {
    images = try CrashImages(geometry, seed: seed)
    folder = try CrashFolder(images.below)
    names = HeaderNames(images.below[0].recorded)
    oracle = SectorOracle(images.disk)
    try folder.write(images.active)
  }

  /// What is the job's, and what would have to come within a flush, is left out.
  mutating func record(_ title: String, _ steps: [CrashProgram.Step]) throws -> CrashRecord {
    self.steps = steps
    try runGuest()
    for case .complete(.some(0), let name) in steps { try rename(name ?? images.below[0].name) }
    return CrashRecord(
      title: "QEMU, \(title): \(steps.map { "\($0)" }.joined(separator: "; "))", images: images,
      log: log.map { StorageJournal.Entry($0) }, oracle: oracle, names: names)
  }

  private mutating func runGuest() throws {
    _ = try folder.directory.file("log")
    let session = try QemuSession(["-t", "writeback", Self.image], in: folder.directory.url)
    var ends: [(end: Int, note: @Sendable (inout SectorOracle, Int) -> Void)] = []
    for (number, step) in steps.enumerated() {
      let began = try logLength()
      switch step {
      case .write(let range), .race(let range, zeros: false, _):
        let bytes = stamp(UInt8(number % 100 + 1), at: range.start.bytes, count: range.count.bytes)
        _ = try folder.directory.file("bytes", bytes)
        ends.append((began, { $0.willWrite(bytes, at: range.start.bytes, position: $1) }))
        try session.run("write -s bytes \(range.start.bytes) \(range.count.bytes)")
      case .zero(let range, let reserving):
        try zero(range, reserving: reserving)
      case .race(let range, zeros: true, _):
        try zero(range, reserving: false)
      case .flush:
        try session.run("flush")
        ends.append((try logLength(), { $0.didFlush(position: $1) }))
      case .populate, .populateAll, .job, .complete: break
      }
      func zero(_ range: GuestRange, reserving: Bool) throws {
        let zeros = [UInt8](repeating: 0, count: range.count.bytes)
        ends.append((began, { $0.willWrite(zeros, at: range.start.bytes, position: $1) }))
        try session.run("write -z \(reserving ? "" : "-u ")\(range.start.bytes) \(range.count.bytes)")
      }
    }
    try session.end()
    try readLog(ends)
  }

  /// Adds the log to what is known, and tells the oracle what the guest noted when the log was so long.
  private mutating func readLog(_ notes: [(end: Int, note: @Sendable (inout SectorOracle, Int) -> Void)]) throws {
    let read = try WriteLog.decode(folder.contents(of: ["log"])[0].bytes)
    for (end, note) in notes { note(&oracle, log.count + read.count { $0.end <= end }) }
    log += read.map(\.operation)
    oracle.didFlush(position: log.count)
  }

  private func logLength() throws -> Int {
    try folder.directory.url.appending(path: "log").resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
  }

  private mutating func rename(_ name: String) throws {
    _ = try folder.directory.file("log")
    _ = try folder.directory.file(name, images.below[0].content.bytes)
    var backing = images.below[0].recorded
    backing.name = Array(name.utf8)
    let began = log.count
    try folder.run("qemu-img", "rebase", "-u", "-b", name, "-F", images.below[0].format, Self.image)
    try readLog([])
    names.change(to: backing, kept: 0, began: began, ended: log.count)
  }
}

/// A qemu-io that waits for commands.
private final class QemuSession {
  private let process = Process()
  private let (input, output) = (Pipe(), Pipe())

  init(_ arguments: [String], in directory: URL) throws {
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["qemu-io"] + arguments
    process.currentDirectoryURL = directory
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    _ = try answer()
  }

  /// Returns when it has been done.
  func run(_ command: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data("\(command)\n".utf8))
    let answer = try answer()
    if answer.contains("failed") || answer.contains("rror") {
      throw CrashFolder.Failure(output: "\(command): \(answer)")
    }
  }

  func end() throws {
    try input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// What it says before it asks for the next command.
  private func answer() throws -> String {
    var text = Data()
    while true {
      let more = output.fileHandleForReading.availableData
      text += more
      let answer = String(decoding: text, as: UTF8.self)
      if answer.hasSuffix("qemu-io> ") { return answer }
      if more.isEmpty { throw CrashFolder.Failure(output: answer) }
    }
  }
}
