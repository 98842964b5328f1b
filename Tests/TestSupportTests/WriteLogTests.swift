import Foundation
import TestSupport
import Testing

@Suite struct WriteLogTests {
  @Test func whatIsWrittenAndReadAgainLeavesTheSameStates() throws {
    let initial = SparseBytes([UInt8](repeating: 9, count: 4096))
    let log: [StorageOperation] = [
      .write([1, 2, 3], at: 510), .reserve(4096..<8192), .sync, .zero(512..<1024), .punch(2048..<4096),
      .resize(to: 3072),
      .sync, .write([UInt8](repeating: 5, count: 1024), at: 1024),
    ]
    let read = try WriteLog.decode(WriteLog.encode(log, on: initial))
    #expect(read.count == log.count)
    #expect(states(initial, read.map(\.operation)) == states(initial, log))
  }

  private func states(_ initial: SparseBytes, _ log: [StorageOperation]) -> Set<[UInt8]> {
    var found = Set<[UInt8]>()
    CrashReplay(initial: initial, log: log).states(limit: 1000, seed: 1) { found.insert($0.contents[0].bytes) }
    return found
  }

  @Test func aLogOfQemuIsUnderstood() throws {
    let directory = try TemporaryDirectory()
    _ = try directory.file("disk", [UInt8](repeating: 0, count: 4096))
    _ = try directory.file("log")
    let nodes =
      #"json:{"driver":"blklogwrites","file":{"driver":"file","filename":"disk"},"log":{"driver":"file","filename":"log"}}"#
    let outcome = try ExternalProgram("qemu-io").run(
      "-t", "writeback", "-c", "write -P 7 512 1024", "-c", "flush", "-c", "write -P 8 0 512", nodes, in: directory.url)
    #expect(outcome.succeeded, "\(outcome.output)")
    let log = try WriteLog.decode([UInt8](Data(contentsOf: directory.url.appending(path: "log"))))
    let expected: [StorageOperation] = [
      .write([UInt8](repeating: 7, count: 1024), at: 512), .sync, .write([UInt8](repeating: 8, count: 512), at: 0),
      .sync,
    ]
    #expect(log.map(\.operation) == expected)
  }

  @Test func whatIsNoLogIsRefused() {
    #expect(throws: WriteLog.Malformed.self) { try WriteLog.decode([UInt8](repeating: 0, count: 512)) }
    let log = WriteLog.encode([.write([UInt8](repeating: 1, count: 512), at: 0)], on: SparseBytes(size: 512))
    #expect(throws: WriteLog.Malformed.self) { try WriteLog.decode(log.dropLast()) }
  }
}
