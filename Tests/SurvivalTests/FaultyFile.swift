import Foundation
import Glibc
import TestSupport
import Testing

/// A name under which a host file can be reached, and fails on request: QEMU's blkdebug under a FUSE export of its storage
/// daemon. There is no other way to fail chosen sectors of a real file where the kernel has no device mapper.
final class FaultyFile {
  static let isPossible = MountedImages.isPossible && (try? ExternalProgram("qemu-storage-daemon").run("-V")) != nil

  /// Which requests fail, and whether only the first of them does.
  struct Fault {
    enum Kind: String { case read, write, flush }

    let kind: Kind
    /// In sectors of 512 bytes; flushes have none.
    var sectors: Range<Int>?
    var isOnce = false
    /// Which of the flushes that have something to flush, counted from 1, when the fault is for one of them.
    var nth: Int?

    fileprivate var rules: [String] {
      let common = #""iotype":"\#(kind.rawValue)","errno":5,"once":\#(isOnce)"#
      if let nth { return [#"{"event":"flush_to_disk","state":\#(nth),\#(common)}"#] }
      let whole = #""event":"none",\#(common)"#
      return sectors.map { $0.map { #"{\#(whole),"sector":\#($0)}"# } } ?? ["{\(whole)}"]
    }

    /// Every flush that reaches the file moves on by a state, from 1 on.
    fileprivate var states: [String] {
      (nth.map { Array(1...$0) } ?? []).map { #"{"event":"flush_to_disk","state":\#($0),"new_state":\#($0 + 1)}"# }
    }
  }

  private let daemon = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let place: String
  private var answers = ""
  private var count = 0
  /// Stays open: closing it would be a flush.
  private var opened: HostFile?

  /// `name`, in the directory of the images, leads to what was there, and is `name` and ".host" now.
  init(_ name: String, of images: MountedImages) throws {
    place = images.path(name)
    try images.shell("mv \(name) \(name).host; touch \(name)")
    // Where it need not grow, no node of QEMU's can have an old idea of its end, from which on it reads zeros.
    if name.hasSuffix(".qcow2") { try images.shell("truncate -s +128M \(name).host") }
    daemon.executableURL = URL(filePath: "/usr/bin/env")
    daemon.arguments = [
      "qemu-storage-daemon", "--blockdev", #"{"driver":"file","node-name":"host","filename":"\#(place).host"}"#,
      "--blockdev", #"{"driver":"raw","node-name":"top","file":"host"}"#,
      "--export", "type=fuse,id=e,node-name=top,mountpoint=\(place),writable=on,growable=on",
      "--chardev", "stdio,id=m", "--monitor", "chardev=m",
    ]
    daemon.standardInput = input
    daemon.standardOutput = output
    try daemon.run()
    try ask("qmp_capabilities", "{}")
    opened = try HostFile(place, O_RDONLY)
  }

  deinit {
    guard daemon.isRunning else { return }
    kill(daemon.processIdentifier, SIGKILL)
    _ = try? ExternalProgram("umount").run("-l", place)
  }

  /// From now on these requests fail.
  func set(_ faults: Fault...) throws {
    count += 1
    var lists = [#""inject-error":[\#(faults.flatMap(\.rules).joined(separator: ","))]"#]
    let states = faults.flatMap(\.states)
    if !states.isEmpty { lists.append(#""set-state":[\#(states.joined(separator: ","))]"#) }
    // Aligned, so that a request for a part of a sector is one for the sector.
    let node =
      #"{"driver":"blkdebug","node-name":"f\#(count)","image":"host","align":512,\#(lists.joined(separator: ","))}"#
    try ask("blockdev-add", node)
    try lead(to: "f\(count)")
  }

  /// From now on nothing fails.
  func heal() throws {
    // The daemon flushes before it changes over; that may be what the fault waits for.
    do { try lead(to: "host") } catch is Refusal { try lead(to: "host") }
  }

  /// The kernel keeps pages of the export; what it has kept would never fail.
  private func lead(to node: String) throws {
    try ask("blockdev-reopen", #"{"options":[{"driver":"raw","node-name":"top","file":"\#(node)"}]}"#)
    if let opened { try HostError.check(-posix_fadvise(opened.descriptor, 0, 0, POSIX_FADV_DONTNEED)) }
  }

  /// The file is back in its place, as any other. Nobody may use it.
  func end() throws {
    guard daemon.isRunning else { return }
    try ask("quit", "{}")
    daemon.waitUntilExit()
    try FileManager.default.removeItem(atPath: place)
    try FileManager.default.moveItem(atPath: place + ".host", toPath: place)
  }

  private func ask(_ command: String, _ arguments: String) throws {
    try input.fileHandleForWriting.write(
      contentsOf: Data("{\"execute\":\"\(command)\",\"arguments\":\(arguments)}\n".utf8))
    while true {
      while let end = answers.firstIndex(where: \.isNewline) {
        let line = answers[..<end]
        answers.removeSubrange(...end)
        if line.contains("\"error\":") { throw Refusal(text: "\(command): \(line)") }
        if line.contains("\"return\":") { return }
      }
      let bytes = output.fileHandleForReading.availableData
      if bytes.isEmpty { throw Refusal(text: "\(command): qemu-storage-daemon has ended") }
      answers += String(decoding: bytes, as: UTF8.self)
    }
  }

  struct Refusal: Error { let text: String }
}
