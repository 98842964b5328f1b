import ArgumentParser
import DiskExport
import HostStorage
import ImageFormat
import Qcow2Format

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks an image's metadata, and with --repair mends it.",
    discussion: """
      Exits as qemu-img check does: 0 clean, 1 the check could not be made, 2 errors, 3 leaked clusters, 63 a format \
      without checks.
      """)
  @Argument(help: ArgumentHelp("A qcow2 image.", valueName: "image"))
  var path: String
  @Flag(help: "As JSON.")
  var json = false
  @Flag(help: "Mend what can be mended; the image must not be in use.")
  var repair = false

  func run() throws {
    let storage: FileStorage
    let report: CheckReport
    do {
      storage = try FileStorage.open(path, readOnly: !repair)
      try storage.lock(repair ? .active : .backing)
      let header = try Qcow2Header.read(from: storage)
      if repair {
        let before = try Qcow2Check.repair(header, in: storage)
        printNote("\(path): \(before.summary) before the repair")
        if let objection = before.objectionToRepair { printNote("\(path): nothing was changed, for \(objection)") }
      }
      // The repair may have changed the header itself.
      report = try Qcow2Check.run(on: repair ? Qcow2Header.read(from: storage) : header, in: storage)
    } catch let error as StorageError {
      throw CommandError(.checkNotMade, error.description)
    } catch let error as ImageError {
      let outcome: Outcome = error.code == .notThisFormat ? .formatWithoutChecks : .checkNotMade
      throw CommandError(outcome, error.description)
    }
    defer { storage.close() }
    if json { print(report.json(path: path).written) } else { print("\(path): \(report.text)") }
    if report.errors > 0 {
      let objection = report.objectionToRepair.map { "no repair is without loss: \($0)" }
      let wayOut = objection ?? "`flatcow check --repair` mends it"
      throw CommandError(.checkFoundErrors, "\(path): \(report.summary); \(wayOut)")
    }
    if report.leaks > 0 {
      throw CommandError(.checkFoundLeaks, "\(path): \(report.summary); `flatcow check --repair` frees them")
    }
  }
}

/// The exit codes of `qemu-img check`.
extension Outcome {
  fileprivate static let checkNotMade = Self(code: 1)
  fileprivate static let checkFoundErrors = Self(code: 2)
  fileprivate static let checkFoundLeaks = Self(code: 3)
  fileprivate static let formatWithoutChecks = Self(code: 63)
}

extension CheckReport {
  fileprivate var summary: String {
    isClean ? "clean" : "\(errors) errors, \(leaks) leaked clusters"
  }

  fileprivate var text: String {
    let used = "\(dataClusters) of \(totalClusters) clusters in use, \(compressedClusters) of them compressed"
    return ([summary + "; " + used] + findings.map { "  \($0)" }).joined(separator: "\n")
  }

  /// The members have the names that qemu-img gives them; the counts are left out where they are 0, as there.
  fileprivate func json(path: String) -> JSONText {
    var members: [(name: String, value: JSONText)] = [
      ("filename", .text(path)), ("format", .text("qcow2")), ("check-errors", .number(0)),
      ("total-clusters", .number(totalClusters)), ("allocated-clusters", .number(dataClusters)),
    ]
    if compressedClusters > 0 { members.append(("compressed-clusters", .number(compressedClusters))) }
    if errors > 0 { members.append(("corruptions", .number(errors))) }
    if leaks > 0 { members.append(("leaks", .number(leaks))) }
    return .object(members)
  }
}
