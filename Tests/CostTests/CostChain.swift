import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import StreamJob
import TestSupport

/// Layers in memory, in clusters of 64 KiB, whose host calls are counted.
struct CostChain {
  static let cluster = 65536

  let chain: BackingChain
  let calls = HostCalls()

  /// `depth` images that hold two clusters each: number `k` from the top has the guest's clusters `k` and `depth + k`.
  init(depth: Int) throws {
    let size = 2 * depth * Self.cluster
    var layers: [Layer] = []
    for number in 0..<depth {
      let storage = try Self.empty(size: size)
      let image = try Self.active(storage)
      let writer = BackingChain(layers: [Layer(image: image, path: "", opened: storage.status())], active: image)
      for cluster in [number, number + depth] {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number + 1), count: Self.cluster)
        try writer.write(bytes.span, at: GuestOffset(cluster * Self.cluster))
      }
      try writer.close()
      layers.append(try Self.layer(MemoryStorage(storage.content, path: "\(number).qcow2", readOnly: true)))
    }
    chain = BackingChain(layers: layers, active: nil)
    for case let storage as MemoryStorage in layers.map(\.image.storage) { calls.count(on: storage) }
  }

  /// An empty image over a raw base; only the calls to the image are counted.
  init(over base: any Storage) throws {
    let storage = try Self.empty(size: base.size())
    let image = try Self.active(storage)
    let layers = [
      Layer(image: image, path: storage.path, opened: storage.status()),
      Layer(image: try RawImage(base), path: base.path, opened: try base.status()),
    ]
    chain = BackingChain(layers: layers, active: image)
    calls.count(on: storage)
  }

  private static func empty(size: Int) throws -> MemoryStorage {
    let storage = MemoryStorage(path: "top.qcow2")
    var creation = Qcow2Creation(virtualSize: ByteCount(size))
    creation.clusterSize = ByteCount(cluster)
    try creation.write(to: storage)
    return storage
  }

  private static func active(_ storage: MemoryStorage) throws -> Qcow2ActiveImage {
    try Qcow2ActiveImage(header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil, options: .init())
  }

  private static func layer(_ storage: MemoryStorage) throws -> Layer {
    let image = try Qcow2Image(
      header: Qcow2Header.read(from: storage), storage: storage, dataStorage: nil,
      budget: TableBudget(limit: ByteCount(1 << 20)))
    return Layer(image: image, path: storage.path, opened: storage.status())
  }
}

extension BackingChain {
  /// 4 KiB of the disk.
  func page(at offset: Int) throws -> [UInt8] {
    let range = GuestRange(at: GuestOffset(offset), count: 4096)
    return try [UInt8](capacity: 4096) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
      try read(range, into: &output)
    }
  }

  /// Has a job copy all, and complete by itself.
  func streamToTheEnd() -> StreamStatus {
    var options = StreamOptions()
    options.backingFile = []
    options.minimumFree = .bytes(0)
    let job = StreamJob(self, options: options)
    let changes = Monitor(0)
    job.onChange { changes.withLock { $0 += 1 } }
    changes.wait { _ in job.status.state.hasJob ? nil : () }
    _ = job.shutDown(patience: .seconds(10))
    return job.status
  }
}
