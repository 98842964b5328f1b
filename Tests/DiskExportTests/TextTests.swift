import FUSESession
import Glibc
import HostStorage
import Testing

@testable import DiskExport

/// The files of one value each.
@Suite struct TextFileTests {
  private let current = Monitor("one\n")
  private let files: TextFiles

  init() {
    files = TextFiles { [current] _ in Array(current.read { $0 }.utf8) }
  }

  private func read(_ handle: FileHandle, at offset: Int, count: Int = 100) -> String {
    let bytes = [UInt8](capacity: count) { output in
      files.read(FileRange(at: FileOffset(offset), count: count), of: handle, into: &output)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private let news = UInt32(POLLPRI | POLLERR)

  @Test func whatIsReadFurtherOnBelongsToTheSameValue() {
    let handle = files.open(.state, isNonBlocking: false)
    #expect(read(handle, at: 0, count: 2) == "on")
    current.withLock { $0 = "two\n" }
    #expect(read(handle, at: 2) == "e\n")
    #expect(read(handle, at: 4) == "")
    #expect(read(handle, at: 0) == "two\n")
  }

  @Test func aChangeIsNewsUntilItIsRead() {
    let handle = files.open(.state, isNonBlocking: false)
    #expect(files.poll(handle, notify: nil) & news == 0)
    files.noteChange()
    #expect(files.poll(handle, notify: nil) & news == news)
    #expect(files.poll(handle, notify: nil) & news == news)
    _ = read(handle, at: 0)
    #expect(files.poll(handle, notify: nil) & news == 0)
  }

  @Test func onlyTheStateHasNews() {
    let handle = files.open(.speed, isNonBlocking: false)
    files.noteChange()
    #expect(files.poll(handle, notify: nil) == TextFiles.ready)
  }

  @Test func aClosedFileIsForgotten() {
    let handle = files.open(.control, isNonBlocking: true)
    #expect(files.isNonBlocking(handle))
    files.release(handle)
    #expect(!files.isNonBlocking(handle))
    #expect(read(handle, at: 0) == "")
  }
}

@Suite struct SpeedTextTests {
  @Test(arguments: [
    ("0", 0), ("1", 1), ("512K", 524_288), ("10M", 10_485_760), ("3G", 3_221_225_472), ("007", 7),
    ("8589934591G", 9_223_372_035_781_033_984),
  ]) func aRateIsDigitsAndPerhapsAPowerOf1024(_ text: String, _ bytes: Int) {
    #expect(StreamSettings.speed(Array(text.utf8)) == ByteCount(bytes))
  }

  @Test(arguments: ["", "K", "-1", "+1", "1k", "1T", "1 K", " 1", "1.5M", "1KB", "0x10", "8589934592G", "１"])
  func anythingElseIsNone(_ text: String) {
    #expect(StreamSettings.speed(Array(text.utf8)) == nil)
  }
}
