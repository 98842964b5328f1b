import FUSESession
import Glibc
import HostStorage
import StreamJob

/// What is written into the files of `stream/`. Each takes exactly the words that it can show; all else is EINVAL.
struct StreamSettings: Sendable {
  let job: StreamJob

  /// Takes a value over that stands there without its newline.
  func set(_ node: Node, to value: [UInt8]) throws(Errno) {
    let word = String(decoding: value, as: UTF8.self)
    switch node {
    case .state: try setState(word)
    case .speed: job.setSpeed(try known(Self.speed(value)))
    case .onError: job.setErrorPolicy(try known(ErrorPolicy(rawValue: word)))
    case .base: try attempt { () throws(StreamError) in try job.setBase(named: value) }
    default: throw Errno(EPERM)
    }
  }

  private func setState(_ word: String) throws(Errno) {
    let change: () throws(StreamError) -> Void =
      switch JobState(rawValue: word) {
      case .running: job.run
      case .paused: job.pause
      case .cancelled: job.cancel
      default: throw Errno(EINVAL)
      }
    try attempt(change)
  }

  private func known<Value>(_ value: Value?) throws(Errno) -> Value {
    guard let value else { throw Errno(EINVAL) }
    return value
  }

  private func attempt(_ body: () throws(StreamError) -> Void) throws(Errno) {
    do throws(StreamError) {
      try body()
    } catch {
      throw Errno(error)
    }
  }

  /// Bytes per second: digits, and perhaps K, M or G for a power of 1024. nil where it is none, or does not fit.
  static func speed(_ text: [UInt8]) -> ByteCount? {
    let shifts: [UInt8: Int] = [UInt8(ascii: "K"): 10, UInt8(ascii: "M"): 20, UInt8(ascii: "G"): 30]
    let shift = text.last.flatMap { shifts[$0] }
    let digits = shift == nil ? text[...] : text.dropLast()
    guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let number = Int(String(decoding: digits, as: UTF8.self))
    else { return nil }
    let (bytes, overflows) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    return overflows ? nil : ByteCount(bytes)
  }
}
