import BackingChain
import DiskExport
import FUSESession
import Foundation
import HostStorage
import ImageFormat
import RawFormat
import StreamJob
import TestSupport
import Testing

/// A base that does not answer.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct HangTests {
  private let images: Images
  private let base = MemoryStorage([UInt8](repeating: 7, count: 8 << 20))
  private let gate = Monitor(true)
  private let stuck = Monitor(0)

  init() throws {
    images = try Images()
    try images.qcow2("top.qcow2")
  }

  private func mount(_ configure: (inout ExportOptions) -> Void = { _ in }) throws -> TestMount {
    let opened = try ChainOpener.open(path: images.path("top.qcow2"), options: ChainOptions())
    let layer = Layer(image: try RawImage(base), path: "base", opened: base.status())
    let mount = try TestMount(
      BackingChain(layers: opened.layers + [layer], active: opened.active), source: "top", configure: configure)
    // What the kernel and the chain ask once is asked.
    _ = try HostFile(mount.path("disk"), O_RDONLY)
    return mount
  }

  private func shut() {
    gate.withLock { $0 = false }
    base.setHook { [gate, stuck] action, _ in
      guard action == .read else { return }
      stuck.withLock { $0 += 1 }
      gate.wait { $0 ? () : nil }
    }
  }

  private func open() { gate.withLock { $0 = true } }

  @Test func everythingElseAnswersWhile256ReadersAreStuck() throws {
    let mount = try mount { $0.cachesPages = false }
    defer { open() }
    shut()
    let readers = (0..<256).map { index in
      Waiter { (try? HostFile(mount.path("disk"), O_RDONLY).read(512, at: index * 4096)) ?? [] }
    }
    stuck.wait { $0 == 256 ? () : nil }
    #expect(try mount.text("stream/state") == "idle\n")
    #expect(try mount.text("control") == "\n")
    #expect(try mount.text("status.json").contains("\"layers\""))
    mount.disk.end()
    #expect(!FileManager.default.fileExists(atPath: mount.path("disk")))
    open()
    for reader in readers { #expect(reader.result() == [UInt8](repeating: 7, count: 512)) }
    #expect(try mount.awaitEnd().isClean)
  }

  @Test func aJobThatIsStuckIsCancelled() throws {
    let mount = try mount { $0.job.start = .paused }
    defer { open() }
    shut()
    try HostFile(mount.path("stream/state"), O_WRONLY).write(Array("running\n".utf8), at: 0)
    stuck.wait { $0 > 0 ? () : nil }
    try HostFile(mount.path("stream/state"), O_WRONLY).write(Array("cancelled\n".utf8), at: 0)
    #expect(try mount.text("stream/state") == "cancelled\n")
    open()
  }
}
