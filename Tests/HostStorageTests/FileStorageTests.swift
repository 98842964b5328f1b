import Foundation
import HostStorage
import TestSupport
import Testing

@Suite struct FileStorageTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  func open(_ name: String = "file", _ bytes: [UInt8] = []) throws -> FileStorage {
    try FileStorage.open(directory.file(name, bytes), readOnly: false)
  }

  @Test(arguments: StorageClause.all) func keepsTheContract(_ clause: StorageClause) throws {
    try clause.check(open())
  }

  @Test(arguments: StorageClause.all) func keepsTheContractOnTmpfs(_ clause: StorageClause) throws {
    let path = "/dev/shm/\(UUID())"
    let storage = try FileStorage.create(path)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try clause.check(storage)
  }

  @Test func onlyRegularFilesAndBlockDevicesAreOpened() throws {
    let fifo = directory.path("fifo")
    try ExternalProgram("mkfifo").run(fifo)
    for path in [fifo, directory.path, "/dev/null"] {
      let error = #expect(throws: StorageError.self) { try FileStorage.open(path, readOnly: true) }
      #expect(error?.detail == "neither a regular file nor a block device")
    }
  }

  @Test func aMissingFileSaysSo() {
    let path = directory.path("none")
    let error = #expect(throws: StorageError.self) { try FileStorage.open(path, readOnly: true) }
    #expect(error?.description == "cannot open \(path): No such file or directory")
  }

  @Test func aReadOnlyStorageTakesNoChange() throws {
    let storage = try FileStorage.open(directory.file("file", [1, 2]), readOnly: true)
    let error = #expect(throws: StorageError.self) { try storage.write([9], at: 0) }
    #expect(error?.errno == EBADF && error?.offset == HostOffset(0))
    #expect(throws: StorageError.self) { try storage.punch(HostRange(0..<1)) }
    #expect(try storage.bytes(count: 2) == [1, 2])
    try storage.sync()
  }

  @Test func theStatusIsTheFiles() throws {
    let storage = try open("file", [1, 2, 3])
    let status = try storage.status()
    #expect(status.size == 3 && status.links == 1 && !status.isBlockDevice)
    #expect(abs(Double(status.modified) / 1e9 - Date.now.timeIntervalSince1970) < 3600)
    try FileManager.default.removeItem(atPath: storage.path)
    #expect(try storage.status().links == 0)
  }

  @Test func theIdentityFollowsTheFileAndNotItsName() throws {
    let storage = try open("one")
    try ExternalProgram("ln").run("one", "two", in: directory.url)
    let other = try FileStorage.open(directory.path("two"), readOnly: true)
    #expect(try storage.status().identity == other.status().identity)
    #expect(try storage.status().identity != open("three").status().identity)
  }

  @Test func theCurrentPathFollowsARename() throws {
    let storage = try open("one")
    try ExternalProgram("mv").run("one", "two", in: directory.url)
    #expect(try storage.currentPath() == Array(directory.path("two").utf8))
  }

  @Test func closingTwiceIsClosingOnce() throws {
    let storage = try open()
    storage.close()
    let next = try open("next", [1])
    storage.close()
    #expect(try next.bytes(count: 1) == [1])
  }

  @Test func anotherKindOfStorageIsNotCloned() throws {
    let (file, memory) = (try open(), MemoryStorage([1, 2, 3]))
    #expect(!file.mayClone(from: memory))
    #expect(try !file.clone(3, from: memory, at: HostOffset(0), to: HostOffset(0)))
  }
}

@Suite struct AdoptedDescriptorTests {
  let directory: TemporaryDirectory
  let path: String
  init() throws {
    directory = try TemporaryDirectory()
    path = try directory.file("file", [1, 2, 3])
  }

  @Test func aDescriptorIsDuplicatedAndStaysOpen() throws {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    let storage = try FileStorage.open("/dev/fd/\(handle.fileDescriptor)", readOnly: false)
    try storage.write([9], at: 1)
    storage.close()
    #expect(try handle.readToEnd() == Data([1, 9, 3]))
  }

  /// A second description would be refused by the first one's lock.
  @Test func itIsTheSameDescriptionWithItsLocks() throws {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    let first = try FileStorage.adopt(handle.fileDescriptor, readOnly: false)
    let second = try FileStorage.adopt(handle.fileDescriptor, readOnly: false)
    try first.lock(.active)
    try second.lock(.active)
    let stranger = try FileStorage.open(path, readOnly: false)
    #expect(throws: StorageError.self) { try stranger.lock(.active) }
    // Closing gives the locks back although the description stays open.
    second.close()
    try stranger.lock(.active)
  }

  @Test func aReadOnlyDescriptorIsNotWritten() throws {
    let handle = try #require(FileHandle(forReadingAtPath: path))
    let error = #expect(throws: StorageError.self) {
      try FileStorage.adopt(handle.fileDescriptor, readOnly: false)
    }
    #expect(error?.errno == EBADF)
    #expect(try FileStorage.adopt(handle.fileDescriptor, readOnly: true).bytes(count: 3) == [1, 2, 3])
  }

  @Test func aDescriptorThatAppendsIsRefused() throws {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    #expect(fcntl(handle.fileDescriptor, F_SETFL, O_APPEND) == 0)
    let error = #expect(throws: StorageError.self) {
      try FileStorage.adopt(handle.fileDescriptor, readOnly: false)
    }
    #expect(error?.errno == EINVAL)
  }

  @Test func pipesAndClosedDescriptorsAreRefused() {
    let pipe = Pipe()
    for descriptor in [pipe.fileHandleForReading.fileDescriptor, 100_000] {
      #expect(throws: StorageError.self) { try FileStorage.adopt(descriptor, readOnly: true) }
    }
  }
}

@Suite struct LocatedFileTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  @Test func whatWasJudgedIsWhatIsOpened() throws {
    let path = try directory.file("file", [1])
    let file = try LocatedFile(Array(path.utf8))
    try ExternalProgram("sh").run("-c", "mv file old && printf x > file", in: directory.url)
    #expect(try FileStorage.open(file, readOnly: true).bytes(count: 1) == [1])
  }

  @Test func linksAreFollowedAndTheirEndIsTold() throws {
    _ = try directory.file("file")
    try ExternalProgram("sh").run("-c", "ln -s file link && ln -s link chain", in: directory.url)
    let file = try LocatedFile(Array(directory.path("chain").utf8))
    #expect(file.resolvedPath == Array(directory.path("file").utf8))
    #expect(file.kind == .regular)
  }

  @Test func lookingAtAFIFOWaitsForNobody() throws {
    try ExternalProgram("mkfifo").run(directory.path("fifo"))
    let file = try LocatedFile(Array(directory.path("fifo").utf8))
    #expect(file.kind == .other)
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
