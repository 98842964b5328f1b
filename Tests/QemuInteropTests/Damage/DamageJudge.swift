import BackingChain
import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import TestSupport

/// How often what was said of damaged images.
struct DamageTally {
  var images = 0
  /// QEMU's verdicts, by exit code.
  var byQemu: [Int32: Int] = [:]
  var opened = 0
  var refused = 0
  var repaired = 0
  var notRepaired = 0
  /// Called damaged here, and clean by QEMU: the rule says why.
  var stricter: [String: Int] = [:]
  var violations: [String] = []
}

/// Shows one damaged image after the other to the check, the repair and a mount for writing, and to `qemu-img check`.
struct DamageJudge {
  let image: String
  let template: DamageTemplate
  /// Of the external data file.
  let data: [UInt8]?
  var tally = DamageTally()

  /// Why an image may be called damaged that QEMU's check does not object to.
  private static let rules: [(finding: String, rule: String)] = [
    ("past the end of its", "past the end of a file nothing is invented"),
    ("outside the file", "past the end of a file nothing is invented"),
    ("reserved bits are set", "reserved bits"),
    ("holds the", "a cluster with metadata has no other use"),
    ("compressed cluster with flags", "a compressed entry has no flags"),
    ("a place in the external data file", "a data file holds guest data at its guest offset"),
  ]

  mutating func judge(_ damage: ImageDamage, of whole: [UInt8]) throws {
    var bytes = whole
    damage.apply(&bytes)
    guard bytes != whole || damage.name.isEmpty else { return }
    tally.images += 1
    let theirs = try qemuCheck(bytes)
    tally.byQemu[theirs, default: 0] += 1
    let header: Qcow2Header
    do {
      header = try Qcow2Header.read(from: MemoryStorage(bytes))
    } catch {
      if theirs == 0 { excuse("\(error)", damage) }
      return
    }
    guard header.usesDataFile == (data != nil) else { return }
    let checked = MemoryStorage(bytes)
    let report = try Qcow2Check.run(on: header, in: checked)
    if !checked.log.isEmpty { violation(damage, "the check has changed it") }
    compare(report, with: theirs, damage)
    try repair(bytes, header, damage)
    try write(bytes, header, damage, isClean: theirs == 0 && report.errors == 0)
  }

  private mutating func violation(_ damage: ImageDamage, _ text: String) {
    tally.violations.append("\(template) \(damage.name): \(text)")
  }

  private func qemuCheck(_ bytes: [UInt8]) throws -> Int32 {
    try Data(bytes).write(to: URL(filePath: image))
    return try ExternalProgram("timeout").run(
      ["20", "qemu-img", "check", "-f", "qcow2", image], in: URL(filePath: image).deletingLastPathComponent()
    ).status
  }

  private mutating func compare(_ report: CheckReport, with theirs: Int32, _ damage: ImageDamage) {
    if theirs == 2 && report.errors == 0 { violation(damage, "QEMU finds errors, the check none") }
    if theirs == 3 && report.isClean { violation(damage, "QEMU finds leaks, the check none") }
    guard theirs == 0, !report.isClean else { return }
    excuse(report.findings.first ?? "", damage)
  }

  /// QEMU finds nothing.
  private mutating func excuse(_ finding: String, _ damage: ImageDamage) {
    if let rule = Self.rules.first(where: { finding.contains($0.finding) })?.rule {
      tally.stricter[rule, default: 0] += 1
    } else {
      violation(damage, "QEMU finds nothing; here: \(finding)")
    }
  }

  private mutating func repair(_ bytes: [UInt8], _ header: Qcow2Header, _ damage: ImageDamage) throws {
    let storage = MemoryStorage(bytes)
    let before = read(bytes)
    guard let found = try? Qcow2Check.repair(header, in: storage) else {
      return violation(damage, "the repair failed")
    }
    guard found.objectionToRepair == nil else {
      tally.notRepaired += 1
      if !storage.log.isEmpty { violation(damage, "the repair was refused, and has changed it") }
      return
    }
    tally.repaired += 1
    let after = storage.content.bytes(in: 0..<storage.content.size)
    let report = try Qcow2Check.run(on: .read(from: storage), in: storage)
    if !report.isClean { violation(damage, "after the repair: \(report.findings.prefix(3))") }
    let theirs = try qemuCheck(after)
    if theirs != 0 { violation(damage, "after the repair QEMU's check exits \(theirs)") }
    if read(after) != before { violation(damage, "the repair has changed what the guest reads") }
  }

  /// What a guest reads at the beginning of each cluster; nil where it cannot.
  private func read(_ bytes: [UInt8]) -> [[UInt8]?] {
    let storage = MemoryStorage(bytes, readOnly: true)
    guard let header = try? Qcow2Header.read(from: storage),
      let image = try? Qcow2Image(
        header: header, storage: storage, dataStorage: data.map { MemoryStorage($0) },
        budget: TableBudget(limit: ByteCount(1 << 20)))
    else { return [] }
    let chain = BackingChain(layers: [Layer(image: image, path: "disk", opened: storage.status())], active: nil)
    return (0..<DamageTemplate.clusters).map { cluster in
      guard cluster * template.clusterSize < header.virtualSize.bytes else { return [] }
      let range = GuestRange(at: GuestOffset(cluster * template.clusterSize), count: 512)
      return try? [UInt8](capacity: 512) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
        _ = try chain.read(range, into: &output)
      }
    }
  }

  /// Writes to half of the clusters, and looks whether anything else has changed.
  private mutating func write(_ bytes: [UInt8], _ header: Qcow2Header, _ damage: ImageDamage, isClean: Bool) throws {
    let storage = MemoryStorage(bytes)
    let dataStorage = data.map { MemoryStorage($0) }
    let active: Qcow2ActiveImage
    do {
      active = try Qcow2ActiveImage(
        header: header, storage: storage, dataStorage: dataStorage, options: .init(dropsBitmaps: true))
    } catch {
      tally.refused += 1
      if !storage.log.isEmpty { violation(damage, "it was refused, and is changed: \(error)") }
      if isClean && !header.isMarkedCorrupt { violation(damage, "QEMU finds it clean, and it is refused: \(error)") }
      return
    }
    tally.opened += 1
    let before = read(bytes)
    let chain = BackingChain(layers: [Layer(image: active, path: "disk", opened: storage.status())], active: active)
    var written: Set<Int> = []
    for cluster in stride(from: 1, to: DamageTemplate.clusters, by: 2) {
      let place = GuestOffset(cluster * template.clusterSize)
      guard place.bytes < header.virtualSize.bytes else { continue }
      if (try? chain.write([UInt8](repeating: 0xEE, count: 512).span, at: place)) != nil { written.insert(cluster) }
    }
    try active.finish()
    let image = storage.content.bytes(in: 0..<storage.content.size)
    let after = dataStorage == nil ? read(image) : []
    for (cluster, content) in after.enumerated() {
      let expected = written.contains(cluster) ? [UInt8](repeating: 0xEE, count: 512) : before[cluster]
      if content != expected { violation(damage, "cluster \(cluster) reads differently after writes elsewhere") }
    }
    let theirs = try qemuCheck(image)
    if isClean && theirs == 2 { violation(damage, "QEMU found it clean, and finds errors after writes") }
  }
}
