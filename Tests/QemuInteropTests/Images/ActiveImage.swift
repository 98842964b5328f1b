import HostStorage
import ImageFormat
import Qcow2Format

/// Opens an image for writing, alone, and closes it cleanly.
func withActiveImage<Result>(
  _ path: String, options: Qcow2ActiveImage.Options = Qcow2ActiveImage.Options(),
  _ body: (Qcow2ActiveImage) throws -> Result
) throws -> Result {
  let storage = try FileStorage.open(path, readOnly: false)
  defer { storage.close() }
  let header = try Qcow2Header.read(from: storage)
  let image = try Qcow2ActiveImage(header: header, storage: storage, dataStorage: nil, options: options)
  let result = try body(image)
  try image.finish()
  return result
}

extension Qcow2ActiveImage {
  /// Writes `bytes` to whole clusters, with nobody else about.
  func write(_ bytes: [UInt8], at offset: Int) throws {
    var done = 0
    while done < bytes.count {
      let plan = try prepare(GuestRange(offset + done..<offset + bytes.count))
      try dataStorage.write(bytes.span.extracting(done..<done + plan.range.count.bytes), at: plan.target)
      if plan.allocates { try publish(plan) }
      done += plan.range.count.bytes
    }
  }
}
