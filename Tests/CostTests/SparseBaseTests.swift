import BackingChain
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// What a sparse base takes on the host once it was streamed.
@Suite(.timeLimit(.minutes(5)))
struct SparseBaseTests {
  private static let size = 1 << 30
  private static let island = [UInt8](repeating: 0x5A, count: CostChain.cluster)

  @Test func aSparseBaseTakesTheClustersThatItsExtentsNeed() throws {
    let directory = try TemporaryDirectory()
    let base = try HostFile(directory.path("base.raw"), O_RDWR | O_CREAT)
    try HostError.check(ftruncate(base.descriptor, Self.size))
    var needed: Set<Int> = []
    for number in 0..<256 {
      // Each fourth lies in two clusters.
      let start = number * (4 << 20) + (number % 4 == 3 ? 4096 : 0)
      try base.write(Self.island, at: start)
      needed.formUnion([start / CostChain.cluster, (start + Self.island.count - 1) / CostChain.cluster])
    }
    let path = directory.path("top.qcow2")
    let made = try ExternalProgram("qemu-img").run(
      "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", path, "\(Self.size)")
    try #require(made.succeeded, "\(made.output)")

    let opened = try ChainOpener.open(path: path, options: ChainOptions())
    let chain = BackingChain(layers: opened.layers, active: opened.active)
    #expect(chain.streamToTheEnd().state == .completed)
    try chain.close()

    let checked = try ExternalProgram("qemu-img").run("check", path)
    #expect(checked.succeeded && checked.output.hasPrefix("No errors"), "\(checked.output)")
    #expect(checked.output.contains("\n\(needed.count)/\(Self.size / CostChain.cluster) = "), "\(checked.output)")
    let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
    let clusters = size / CostChain.cluster
    #expect(clusters == RecordedCosts.sparseFileClusters, "measured \(clusters)")
  }
}
