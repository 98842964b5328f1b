import Foundation
import HostStorage
import TestSupport
import Testing

@Suite struct FileStorageTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  @Test func onlyRegularFilesAndBlockDevicesAreOpened() throws {
    let fifo = directory.path("fifo")
    try ExternalProgram("mkfifo").run(fifo)
    for path in [fifo, directory.path, "/dev/null"] {
      let error = #expect(throws: StorageError.self) { try FileStorage.open(path, readOnly: true) }
      #expect(error?.detail == "neither a regular file nor a block device")
    }
  }

  @Test func aMissingFileSaysSo() {
    let error = #expect(throws: StorageError.self) { try FileStorage.open(directory.path("none"), readOnly: true) }
    #expect(error?.errno == ENOENT && error?.operation == "open")
  }

  @Test func aNameWithANULByteOpensNothing() throws {
    _ = try directory.file("name")
    let error = #expect(throws: StorageError.self) {
      _ = try LocatedFile(Array((directory.path("name") + "\0tail").utf8))
    }
    #expect(error?.errno == EINVAL)
  }

  @Test func aNameNeedNotBeText() throws {
    try ExternalProgram("sh").run("-c", #"touch "$(printf '\377\376')""#, in: directory.url)
    let name = Array((directory.path + "/").utf8) + [0xFF, 0xFE]
    let file = try LocatedFile(name)
    #expect(file.resolvedPath == name)
  }
}
