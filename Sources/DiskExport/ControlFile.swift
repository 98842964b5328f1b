import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import StreamJob

/// `control`: shows the backing-file string that the active layer records; a write completes the stream.
struct ControlFile: Sendable {
  let chain: BackingChain
  let job: StreamJob

  /// The recorded string and a newline.
  var text: [UInt8] { (chain.snapshot.layers[0].image.backing?.name ?? []) + [UInt8(ascii: "\n")] }

  /// Asks for the completion with what was written, and answers when it has succeeded or failed; where the writer does
  /// not wait, when it is armed. No thread waits meanwhile. A signal to the writer withdraws it.
  func write(_ bytes: Span<UInt8>, at offset: FileOffset, waiting: Bool, reply: consuming WriteReply) {
    guard offset.bytes == 0 else { return reply.fail(Errno(EINVAL)) }
    if chain.isDurabilityLost { return reply.fail(Errno(EIO)) }
    let count = bytes.count
    let line = bytes.withoutNewline
    let held = reply.hold()
    let ticket = job.requestCompletion(line, blocking: waiting) { result in
      switch result {
      case .success: held.succeed(count: count)
      case .failure(let error): held.fail(Errno(error))
      }
    }
    held.onInterrupt { [job] in job.withdraw(ticket) }
  }
}
