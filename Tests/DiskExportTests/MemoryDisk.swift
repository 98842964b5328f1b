import BackingChain
import FUSESession
import HostStorage
import ImageFormat
import RawFormat
import StreamJob
import Synchronization
import TestSupport

@testable import DiskExport

/// `disk` over a raw image in memory, without a kernel.
struct MemoryDisk {
  static let size = 1 << 20
  let storage: MemoryStorage
  let chain: BackingChain
  let job: StreamJob
  let file: DiskFile
  let log = Monitor<[String]>([])

  init(
    readOnly: Bool = false, _ bytes: [UInt8] = [UInt8](repeating: 7, count: size),
    configure: (inout ExportOptions) -> Void = { _ in }
  ) throws {
    storage = MemoryStorage(bytes, readOnly: readOnly)
    let image = try RawImage(storage)
    chain = BackingChain(
      layers: [Layer(image: image, path: "memory", opened: storage.status())], active: readOnly ? nil : image)
    job = StreamJob(chain)
    var options = ExportOptions(mountPoint: "/nowhere", source: "memory") { [log] line in
      log.withLock { $0.append(line) }
    }
    configure(&options)
    file = DiskFile(chain: chain, job: job, options: options, session: SessionLink())
  }

  func read(_ range: Range<Int>) throws -> [UInt8] {
    try [UInt8](capacity: range.count) { (output: inout OutputSpan<UInt8>) throws(Errno) in
      try file.read(GuestRange(range), into: &output)
    }
  }
}

extension GuestRange {
  init(_ range: Range<Int>) { self.init(at: GuestOffset(range.lowerBound), count: ByteCount(range.count)) }
}
