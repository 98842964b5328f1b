import CDeflate
import CZlib
import CZstd
import HostStorage
import ImageFormat

/// Inflates compressed clusters (specification, "Compressed Clusters Descriptor"), and remembers the last few.
///
/// This is the one file of the format with unsafe code: the libraries take pointers.
final class Inflater: Sendable {
  private let storage: any Storage
  private let clusterSize: Int
  private let usesZstd: Bool
  private let recent = Lock<[(cluster: CompressedCluster, bytes: [UInt8])]>([])

  /// How many inflated clusters stay: a sequential reader asks for each cluster several times, and a few do it at once.
  private static let remembered = 8

  init(header: Qcow2Header, storage: any Storage) {
    self.storage = storage
    clusterSize = header.clusterSize.bytes
    usesZstd = header.usesZstd
  }

  func inflate(_ cluster: CompressedCluster) throws(ImageError) -> [UInt8] {
    let known = recent.withLock { recent in recent.first { $0.cluster == cluster }?.bytes }
    if let known { return known }
    let stream: [UInt8]
    do {
      stream = try storage.bytes(cluster.size, at: cluster.start)
    } catch {
      throw ImageError(error)
    }
    guard let bytes = usesZstd ? inflateZstd(stream) : inflateRaw(stream) ?? beginning(ofRaw: stream) else {
      throw ImageError(
        .corrupt, path: storage.path, reason: "the compressed cluster at \(cluster.start.bytes) cannot be inflated")
    }
    recent.withLock { recent in
      if recent.count == Self.remembered { recent.removeFirst() }
      recent.append((cluster, bytes))
    }
    return bytes
  }

  /// A raw deflate stream of exactly one cluster; what follows it in its last sector is ignored.
  private func inflateRaw(_ stream: [UInt8]) -> [UInt8]? {
    guard let decompressor = unsafe libdeflate_alloc_decompressor() else { return nil }
    defer { unsafe libdeflate_free_decompressor(decompressor) }
    var used = 0
    let output = unsafe [UInt8](unsafeUninitializedCapacity: clusterSize) { output, count in
      var produced = 0
      let result = unsafe libdeflate_deflate_decompress_ex(
        decompressor, stream, stream.count, output.baseAddress, clusterSize, &used, &produced)
      count = result == LIBDEFLATE_SUCCESS ? produced : 0
    }
    return output.count == clusterSize ? output : nil
  }

  /// The first cluster of what a raw deflate stream yields that goes on, or breaks off, behind it: libdeflate says nothing of
  /// such a one, and zlib, as in QEMU, stops where the room ends.
  private func beginning(ofRaw stream: [UInt8]) -> [UInt8]? {
    var state = unsafe z_stream()
    let size = unsafe Int32(MemoryLayout<z_stream>.size)
    guard unsafe inflateInit2_(&state, -MAX_WBITS, ZLIB_VERSION, size) == Z_OK else { return nil }
    defer { unsafe inflateEnd(&state) }
    let output = unsafe [UInt8](unsafeUninitializedCapacity: clusterSize) { output, count in
      unsafe stream.withUnsafeBufferPointer { input in
        unsafe state.next_in = input.baseAddress
        unsafe state.avail_in = UInt32(input.count)
        unsafe state.next_out = output.baseAddress
        unsafe state.avail_out = UInt32(clusterSize)
        let result = unsafe CZlib.inflate(&state, Z_FINISH)
        count = unsafe (result == Z_STREAM_END || result == Z_BUF_ERROR) && state.avail_out == 0 ? clusterSize : 0
      }
    }
    return output.count == clusterSize ? output : nil
  }

  /// One or more whole zstd frames that yield exactly one cluster.
  private func inflateZstd(_ stream: [UInt8]) -> [UInt8]? {
    let output = unsafe [UInt8](unsafeUninitializedCapacity: clusterSize) { output, count in
      unsafe stream.withUnsafeBytes { input in
        var position = 0
        while count < clusterSize, position < input.count {
          guard let from = input.baseAddress, let to = output.baseAddress else { return }
          let frame = unsafe ZSTD_findFrameCompressedSize(from + position, input.count - position)
          guard ZSTD_isError(frame) == 0, frame > 0 else { return }
          let produced = unsafe ZSTD_decompress(to + count, clusterSize - count, from + position, frame)
          guard ZSTD_isError(produced) == 0 else { return }
          count += produced
          position += frame
        }
      }
    }
    return output.count == clusterSize ? output : nil
  }
}
