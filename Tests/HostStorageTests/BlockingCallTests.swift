import Glibc
import HostStorage
import Synchronization
import TestSupport
import Testing

/// Calls that may wait tell whoever wants to know, and no others do.
@Suite(.timeLimit(.minutes(1))) struct BlockingCallTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  /// How often `body` said that it will wait.
  private func announcements(_ body: () throws -> Void) throws -> Int {
    let count = Atomic<Int>(0)
    var result = Result<Void, any Error>.success(())
    BlockingCall.announced {
      count.add(1, ordering: .relaxed)
    } during: {
      result = Result { try body() }
    }
    try result.get()
    return count.load(ordering: .relaxed)
  }

  private func synced(_ bytes: [UInt8]) throws -> FileStorage {
    let storage = try FileStorage.open(directory.file("file", bytes), readOnly: false)
    try storage.sync()
    return storage
  }

  @Test func aReadOfWhatIsInMemoryIsNotAnnounced() throws {
    let storage = try synced([UInt8](repeating: 7, count: 8192))
    let count = try announcements {
      let bytes = try storage.bytes(count: 8192)
      #expect(bytes.allSatisfy { $0 == 7 })
    }
    #expect(count == 0)
  }

  @Test func aReadFromTheDiskIsAnnouncedAndWhole() throws {
    let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 / 977) }
    let storage = try synced(bytes)
    let file = try HostFile(directory.path("file"), O_RDONLY)
    // What the kernel is asked to forget, it forgets when it likes.
    let count = eventually { () -> Int? in
      _ = posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
      let count = try? announcements {
        let read = try storage.bytes(count: bytes.count)
        #expect(read == bytes)
      }
      return count == 0 ? nil : count
    }
    #expect(count != nil)
  }

  @Test func aSyncIsAnnounced() throws {
    let storage = try synced([1])
    let count = try announcements { try storage.sync() }
    #expect(count == 1)
  }

  @Test func onlyAWaitThatSleepsIsAnnounced() throws {
    let monitor = Monitor(0)
    let awake = try announcements { monitor.wait { $0 == 0 ? () : nil } }
    #expect(awake == 0)
    let slept = try announcements {
      #expect(monitor.wait(deadline: .now + .milliseconds(1)) { $0 == 1 ? true : nil } == nil)
    }
    #expect(slept > 0)
  }

  @Test func afterwardsNobodyIsTold() throws {
    let storage = try synced([1])
    let count = Atomic<Int>(0)
    BlockingCall.announced {
      count.add(1, ordering: .relaxed)
    } during: {
    }
    try storage.sync()
    #expect(count.load(ordering: .relaxed) == 0)
  }
}
