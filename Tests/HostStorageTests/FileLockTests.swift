import Foundation
import HostStorage
import TestSupport
import Testing

/// Two open file descriptions of one file are strangers to each other, whoever has them.
@Suite struct FileLockTests {
  let directory: TemporaryDirectory
  let path: String
  init() throws {
    directory = try TemporaryDirectory()
    path = try directory.file("file")
  }

  private func open() throws -> FileStorage { try FileStorage.open(path, readOnly: false) }

  @Test func manyMayUseABackingLayer() throws {
    let storages = try [open(), FileStorage.open(path, readOnly: true)]
    for storage in storages { try storage.lock(.backing) }
  }

  @Test(arguments: [(ImageLock.active, ImageLock.active), (.active, .backing), (.backing, .active)])
  func anActiveLayerIsNobodyElses(_ first: ImageLock, _ second: ImageLock) throws {
    let (holder, other) = (try open(), try open())
    try holder.lock(first)
    let error = #expect(throws: StorageError.self) { try other.lock(second) }
    #expect(error?.code == .locked)
    #expect(error?.detail?.hasSuffix("process \(getpid())") == true)
    #expect(error?.description.contains("another program is using it (held by ") == true)
    holder.close()
    try other.lock(second)
  }

  @Test func aRefusedLockLeavesNothingHeld() throws {
    let (reader, refused, other) = (try open(), try open(), try open())
    try reader.lock(.backing)
    #expect(throws: StorageError.self) { try refused.lock(.active) }
    try other.lock(.backing)
  }

  @Test func aRefusedLockKeepsWhatWasHeldBefore() throws {
    let (reader, other) = (try open(), try open())
    try reader.lock(.backing)
    try other.lock(.backing)
    #expect(throws: StorageError.self) { try other.lock(.active) }
    reader.close()
    #expect(throws: StorageError.self) { try open().lock(.active) }
  }

  @Test func theLastReferenceGivesTheLocksBack() throws {
    var storage: FileStorage? = try open()
    try storage?.lock(.active)
    storage = nil
    try open().lock(.active)
  }
}
