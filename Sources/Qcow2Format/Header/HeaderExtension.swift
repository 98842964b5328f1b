import ImageFormat

/// A header extension: its type, its data, and where it stands in the first cluster.
package struct HeaderExtension: Equatable, Sendable {
  /// The types that flatcow knows (qcow2 specification, "Header extensions").
  package enum Kind {
    package static let end: UInt32 = 0
    package static let backingFormat: UInt32 = 0xE279_2ACA
    package static let featureNames: UInt32 = 0x6803_F857
    package static let bitmaps: UInt32 = 0x2385_2875
    package static let crypto: UInt32 = 0x0537_BE77
    package static let dataFile: UInt32 = 0x4441_5441
  }

  package var kind: UInt32
  package var data: [UInt8]
  /// Where it begins in the image file.
  package var position: Int

  /// Bytes it takes: type, length, data, padding to 8.
  var footprint: Int { 8 + (data.count + 7) / 8 * 8 }

  /// Appends the extension's bytes, padded.
  func append(to bytes: inout [UInt8]) {
    var field = [UInt8](repeating: 0, count: footprint)
    BigEndian.store(kind, into: &field, at: 0)
    BigEndian.store(UInt32(data.count), into: &field, at: 4)
    field.replaceSubrange(8..<(8 + data.count), with: data)
    bytes.append(contentsOf: field)
  }
}

/// The part of the first cluster that holds the header's extensions.
struct ExtensionArea: Equatable, Sendable {
  var extensions: [HeaderExtension] = []
  /// An area that is full up to the backing file's name, or the cluster's end, may have none. Bytes that look like one prove
  /// nothing: they may be the last extension's own.
  var hasEndMarker = false
  /// Behind the end marker, or behind the last extension: from here on nothing belongs to the area.
  var end: Int

  /// The area in `bytes` from `start` on, up to `limit` at most.
  init(in bytes: [UInt8], from start: Int, to limit: Int) throws(HeaderFault) {
    end = start
    while end + 8 <= limit {
      let kind = BigEndian.load(UInt32.self, from: bytes.span, at: end)
      let length = Int(BigEndian.load(UInt32.self, from: bytes.span, at: end + 4))
      if kind == HeaderExtension.Kind.end {
        hasEndMarker = true
        end += 8
        return
      }
      guard length <= limit - end - 8 else {
        throw HeaderFault(.corrupt, "a header extension is longer than the header's cluster")
      }
      let item = HeaderExtension(kind: kind, data: Array(bytes[(end + 8)..<(end + 8 + length)]), position: end)
      extensions.append(item)
      end = min(end + item.footprint, limit)
    }
  }
}

/// What is wrong with a header, before it is known which file it is in.
struct HeaderFault: Error {
  let code: ImageError.Code
  let reason: String

  init(_ code: ImageError.Code, _ reason: String) {
    self.code = code
    self.reason = reason
  }
}
