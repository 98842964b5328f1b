import BackingChain
import Foundation
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport
import Testing

/// A cluster that a snapshot shares moves whole when a part of it is populated.
@Suite(.timeLimit(.minutes(1))) struct SharedSubclusterTests {
  @Test func whatIsPopulatedBesideASharedSubclusterChangesNothing() throws {
    let directory = try TemporaryDirectory()
    let size = 131_072
    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 512 % 251 + 1) }
    _ = try directory.file("base.raw", bytes)
    for (program, arguments) in [
      ("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "-b", "base.raw", "-Fraw", "top.qcow2"]),
      ("qemu-io", ["-f", "qcow2", "-c", "write -P 255 0 2048", "top.qcow2"]),
      ("qemu-img", ["snapshot", "-c", "one", "top.qcow2"]),
    ] {
      let outcome = try ExternalProgram(program).run(arguments, in: directory.url)
      try #require(outcome.succeeded, "\(outcome.output)")
    }
    let content = SparseBytes([UInt8](try Data(contentsOf: directory.url.appending(path: "top.qcow2"))))
    let (top, base) = (MemoryStorage(content, path: "top.qcow2"), MemoryStorage(SparseBytes(bytes), path: "base.raw"))
    let image = try Qcow2ActiveImage(header: .read(from: top), storage: top, dataStorage: nil, options: .init())
    let layers = [
      Layer(image: image, path: top.path, opened: top.status()),
      Layer(image: try RawImage(base), path: base.path, opened: base.status()),
    ]
    let chain = BackingChain(layers: layers, active: image)
    let disk = GuestRange(at: GuestOffset(0), count: ByteCount(size))
    _ = try chain.populate(disk, above: nil)
    let read = try [UInt8](capacity: size) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try chain.read(disk, into: &output)
    }
    #expect(read == [UInt8](repeating: 255, count: 2048) + bytes.dropFirst(2048))
    #expect(try chain.nextUnpopulated(from: GuestOffset(0), above: nil) == nil)
  }
}
