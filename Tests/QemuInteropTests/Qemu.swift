import Foundation
import TestSupport
import Testing

/// QEMU's programs, the oracle. Whatever they are asked here has to succeed.
///
/// They run in the image's directory, since QEMU looks for a data file with a relative name in its working directory.
enum Qemu {
  private static func run(_ program: String, _ arguments: [String], on image: String) throws
    -> ExternalProgram.Outcome
  {
    let directory = URL(filePath: image).deletingLastPathComponent()
    return try ExternalProgram(program).run(arguments, in: directory)
  }

  /// Runs qemu-img, with the image's name at the end of the arguments.
  @discardableResult
  static func img(_ arguments: String..., on image: String, and last: String...) throws -> String {
    try img(arguments, on: image, and: last)
  }

  @discardableResult
  static func img(_ arguments: [String], on image: String, and last: [String] = []) throws -> String {
    let arguments = arguments + [image] + last
    let outcome = try run("qemu-img", arguments, on: image)
    try #require(outcome.succeeded, "qemu-img \(arguments.joined(separator: " ")): \(outcome.output)")
    return outcome.output
  }

  /// Runs `commands` on an image in one go.
  static func io(_ image: String, format: String = "qcow2", _ commands: [String]) throws {
    if commands.isEmpty { return }
    let outcome = try run("qemu-io", arguments(format, commands, image), on: image)
    try #require(outcome.succeeded, "\(image): \(outcome.output)\(commands)")
  }

  /// Runs `commands` and dies without closing the image; what they flushed is in the file.
  static func ioKilled(_ image: String, _ commands: [String]) throws {
    let outcome = try run("qemu-io", arguments("qcow2", commands + ["sigraise 9"], image), on: image)
    try #require(!outcome.succeeded && outcome.output.isEmpty, "\(image): \(outcome.output)\(commands)")
  }

  private static func arguments(_ format: String, _ commands: [String], _ image: String) -> [String] {
    ["-t", "unsafe", "-f", format] + commands.flatMap { ["-c", $0] } + [image]
  }

  /// What the guest of `image` reads.
  static func bytes(of image: String, format: String = "qcow2", snapshot: String? = nil) throws -> [UInt8] {
    let output = image + ".out"
    defer { try? FileManager.default.removeItem(atPath: output) }
    let source = snapshot.map { ["-l", "snapshot.name=\($0)"] } ?? []
    try img(["convert", "-f", format] + source + ["-O", "raw"], on: image, and: [output])
    return [UInt8](try Data(contentsOf: URL(filePath: output)))
  }

  enum Verdict: Int32 {
    case clean = 0
    case errors = 2
    case leaks = 3
  }

  /// The backing file need not be there.
  static func check(_ image: String) throws -> (verdict: Verdict, output: String) {
    let alone = #"json:{"driver":"qcow2","backing":null,"file":{"driver":"file","filename":"\#(image)"}}"#
    let outcome = try run("qemu-img", ["check", alone], on: image)
    return (try #require(Verdict(rawValue: outcome.status), "\(image): \(outcome.output)"), outcome.output)
  }

  static func expectClean(_ image: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let (verdict, output) = try check(image)
    #expect(verdict == .clean, "\(output)", sourceLocation: sourceLocation)
  }

  /// Says whether a guest of `image` reads `bytes`, and nothing else.
  static func expect(
    _ image: String, reads bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let raw = image + ".model"
    defer { try? FileManager.default.removeItem(atPath: raw) }
    try Data(bytes).write(to: URL(filePath: raw))
    let outcome = try run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", image, raw], on: image)
    #expect(outcome.succeeded, "\(outcome.output)", sourceLocation: sourceLocation)
  }

  /// How many host clusters the guest's data takes.
  static func allocatedClusters(_ image: String) throws -> Int {
    struct Answer: Decodable {
      let allocated: Int?

      enum CodingKeys: String, CodingKey { case allocated = "allocated-clusters" }
    }
    let answer = try img("check", "-f", "qcow2", "--output=json", on: image)
    return try JSONDecoder().decode(Answer.self, from: Data(answer.utf8)).allocated ?? 0
  }

  struct Info: Decodable {
    let backing: String?
    let backingFormat: String?
    let virtualSize: Int
    let details: Details?

    struct Details: Decodable {
      let data: Data

      struct Data: Decodable {
        let bitmaps: [Bitmap]?
        let corrupt: Bool?
      }
      struct Bitmap: Decodable { let name: String }
    }

    var bitmaps: [String] { details?.data.bitmaps?.map(\.name) ?? [] }

    enum CodingKeys: String, CodingKey {
      case backing = "backing-filename"
      case backingFormat = "backing-filename-format"
      case virtualSize = "virtual-size"
      case details = "format-specific"
    }
  }

  static func info(_ image: String) throws -> Info {
    let answer = try img("info", "-f", "qcow2", "--output=json", on: image)
    return try JSONDecoder().decode(Info.self, from: Data(answer.utf8))
  }
}
