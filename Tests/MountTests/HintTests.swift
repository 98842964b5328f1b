import BackingChain
import DiskExport
import Glibc
import HostStorage
import ImageFormat
import StreamJob
import TestSupport
import Testing

@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(1)))
struct HintTests {
  @Test func whatTheGuestReadsFromBelowIsCopiedFirst() throws {
    let images = try Images()
    try images.raw("base.raw", [UInt8](repeating: 7, count: images.size))
    let opened = try ChainOpener.open(
      path: images.qcow2("top.qcow2", over: "base.raw"), options: ChainOptions())
    let chain = BackingChain(layers: opened.layers, active: opened.active)
    let mount = try TestMount(chain, source: "top") { options in
      options.job.start = .on
      // So slow that the job by itself does not come there while the test runs.
      options.job.speed = ByteCount(65536)
    }
    let place = GuestOffset(images.size / 2)
    #expect(try HostFile(mount.path("disk"), O_RDONLY).read(1, at: place.bytes) == [7])
    let isCopied = eventually { () -> Bool? in
      let next = try? chain.nextUnpopulated(from: place, above: nil)
      return next.map { $0.start > place } ?? false ? true : nil
    }
    #expect(isCopied == true)
    #expect(mount.disk.job.status.done < ByteCount(place.bytes))
  }
}
