import Foundation
import TestSupport
import Testing

/// The verbs on images, run against what qemu-img says of the same images.
@Suite struct ImageVerbTests {
  private let directory: TemporaryDirectory
  private let flatcow = CommandLineTests.flatcow
  private let qemuImg = ExternalProgram("qemu-img")

  /// A base of 1 MiB with some data, and an overlay with data, zeros and nothing.
  init() throws {
    directory = try TemporaryDirectory()
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    for index in 65536..<131072 { bytes[index] = 7 }
    _ = try directory.file("base.raw", bytes)
    try create("top.qcow2", "-b", "base.raw", "-F", "raw")
    let writes = ["-c", "write 256k 64k", "-c", "write -z 512k 64k", directory.path("top.qcow2")]
    #expect(try ExternalProgram("qemu-io").run(writes).succeeded)
  }

  private func create(_ name: String, _ arguments: String...) throws {
    let made = try flatcow.run(["create", directory.path(name)] + arguments)
    #expect(made.succeeded, "\(made.output)")
  }

  private func json(_ outcome: ExternalProgram.Outcome) throws -> [[String: AnyHashable]] {
    let value = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
    return (value as? [[String: AnyHashable]] ?? []).map { $0.filter { $0.key != "compressed" } }
  }

  @Test func theChainIsListedTopFirst() throws {
    let lines = try flatcow.run("chain", directory.path("top.qcow2")).output.split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines[0].hasPrefix("0 qcow2 1048576 /") && lines[1].hasPrefix("1 raw 1048576 /"))
  }

  @Test(arguments: [[], ["-o", "compat=0.10,cluster_size=512"], ["-o", "extended_l2=on,cluster_size=16K"]])
  func theMapIsThatOfQemu(options: [String]) throws {
    let image = directory.path("over.qcow2")
    let made = try flatcow.run(["create", image, "1536K", "-b", "top.qcow2", "-F", "qcow2"] + options)
    #expect(made.succeeded, "\(made.output)")
    #expect(try ExternalProgram("qemu-io").run("-c", "write 100k 3k", image).succeeded)
    let ours = try json(flatcow.run("map", "--json", image))
    let theirs = try json(qemuImg.run("map", "--output=json", image))
    #expect(!ours.isEmpty && ours == theirs)
    #expect(try qemuImg.run("check", image).succeeded)
  }

  @Test(arguments: ["write -P 5 0 1M", "write -c -P 5 960k 64k"])
  func whatAFileHasLostIsCalledLostInTheMap(write: String) throws {
    let image = directory.path("over.qcow2")
    try create("over.qcow2", "1M", "-b", "top.qcow2", "-F", "qcow2")
    #expect(try ExternalProgram("qemu-io").run("-c", write, image).succeeded)
    let file = try FileHandle(forUpdating: URL(filePath: image))
    // A stream begins with a cluster, and ends within.
    let end = try file.seekToEnd()
    try file.truncate(atOffset: write.contains("-c") ? end / 65536 * 65536 : end - 131_072)
    try file.close()
    let last = try #require(json(flatcow.run("map", "--json", image)).last)
    #expect(["lost", "data", "zero"].map { last[$0] as? Bool } == [true, true, false])
    #expect(last["start"] as? Int == (write.contains("-c") ? 983_040 : 917_504))
    let line = try #require(flatcow.run("map", image).output.split(separator: "\n").last)
    #expect(line.contains(" lost /"))
  }

  @Test func aChecksExitCodesAreThoseOfQemu() throws {
    let image = directory.path("top.qcow2")
    #expect(try flatcow.run("check", image).status == 0)
    #expect(try flatcow.run("check", directory.path("base.raw")).status == 63)
    #expect(try flatcow.run("check", directory.path("nowhere")).status == 1)

    // The refcount block is the third cluster; its last entry becomes a leak.
    let file = try FileHandle(forUpdating: URL(filePath: image))
    try file.seek(toOffset: 2 << 16 + 2 * 6)
    try file.write(contentsOf: Data([0, 1]))
    try file.truncate(atOffset: 7 << 16)
    try file.close()
    #expect(try flatcow.run("check", image).status == 3)
    #expect(try flatcow.run("check", "--repair", image).status == 0)
    #expect(try qemuImg.run("check", image).succeeded)
  }

  @Test func aRepairThatCouldLoseDataIsRefusedByASentenceAndChangesNothing() throws {
    let image = directory.path("top.qcow2")
    // The refcount block is said to be where the L1 table is.
    let file = try FileHandle(forUpdating: URL(filePath: image))
    try file.seek(toOffset: 1 << 16 + 5)
    try file.write(contentsOf: Data([3]))
    try file.close()
    let before = try Data(contentsOf: URL(filePath: image))
    #expect(try qemuImg.run("check", image).status == 2)
    #expect(try flatcow.run("check", image).status == 2)
    let repaired = try flatcow.run("check", "--repair", image)
    #expect(repaired.status == 2 && repaired.output.contains("nothing was changed"), "\(repaired.output)")
    #expect(try Data(contentsOf: URL(filePath: image)) == before)
  }

  @Test func aRepairClearsMarksThatItDoesNotKnow() throws {
    let image = directory.path("top.qcow2")
    let file = try FileHandle(forUpdating: URL(filePath: image))
    // Autoclear bit 5, and the refcount of the first data cluster.
    for (offset, byte) in [(95, 0x20), (2 << 16 + 2 * 5 + 1, 0)] as [(UInt64, UInt8)] {
      try file.seek(toOffset: offset)
      try file.write(contentsOf: Data([byte]))
    }
    try file.close()
    #expect(try flatcow.run("check", "--repair", image).status == 0)
    let mended = try Data(contentsOf: URL(filePath: image))
    #expect(mended[95] == 0 && mended[2 << 16 + 2 * 5 + 1] == 1)
  }

  @Test func anImageIsNeverMadeOverAnotherFile() throws {
    let made = try flatcow.run("create", directory.path("top.qcow2"), "1M")
    #expect(made.status == 2 && made.output.contains("exists"))
    #expect(try flatcow.run("chain", directory.path("top.qcow2")).output.contains("base.raw"))
  }

  @Test(arguments: [
    ["new"], ["new", "1M", "-b", "base.raw"], ["new", "much"], ["new", "1M", "-o", "cluster_size=3"],
    ["new", "1M", "-o", "preallocation=full"],
  ])
  func whatCannotBeMadeLeavesNothing(arguments: [String]) throws {
    let made = try flatcow.run(["create"] + arguments, in: directory.url)
    #expect(made.status == 1 && !FileManager.default.fileExists(atPath: directory.path("new")))
  }
}
