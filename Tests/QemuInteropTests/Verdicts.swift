import HostStorage
import Qcow2Format
import Testing

/// Our check of an image, in the words of `qemu-img check`.
func verdict(on image: String) throws -> (verdict: Qemu.Verdict, report: CheckReport) {
  let storage = try FileStorage.open(image, readOnly: true)
  defer { storage.close() }
  let report = try Qcow2Check.run(on: Qcow2Header.read(from: storage), in: storage)
  return (report.errors > 0 ? .errors : report.leaks > 0 ? .leaks : .clean, report)
}

/// Says whether our check agrees with QEMU's.
func expectSameVerdict(on image: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
  let ours = try verdict(on: image)
  let theirs = try Qemu.check(image)
  #expect(
    ours.verdict == theirs.verdict, "\(image): \(ours.report.findings.prefix(5)); QEMU: \(theirs.output)",
    sourceLocation: sourceLocation)
}
