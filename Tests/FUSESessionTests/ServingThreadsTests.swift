import Dispatch
import FUSESession
import Glibc
import Synchronization
import TestSupport
import Testing

/// Requests that wait keep nobody else waiting, however few threads there are for the others.
@Suite(.timeLimit(.minutes(1))) struct ServingThreadsTests {
  private func readers(_ count: Int, of path: String) -> [Waiter<Int?>] {
    (0..<count).map { _ in Waiter { try? HostFile(path, O_RDONLY).read(16, at: 0).count } }
  }

  private func arrived(_ count: Int, at tree: MemoryTree) -> Bool {
    eventually { tree.readersAtGate.load(ordering: .relaxed) == count ? () : nil } != nil
  }

  /// The readers do not say that they will wait: the clock finds them, also after it has rested.
  @Test func afterEachBurstThatWaitedAnotherOneIsServed() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    for burst in 1...3 {
      let readers = readers(40, of: mounted.file("held"))
      try #require(arrived(40 * burst, at: tree))
      #expect(try HostFile(mounted.file("data")).read(1, at: 5) == [0])
      for _ in readers { tree.gate.signal() }
      #expect(readers.allSatisfy { $0.result() == 16 })
      usleep(100_000)
    }
  }

  @Test func noMoreThanTheLimitAreWorkedOn() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree, threads: 3)
    // Opened beforehand: with all threads at the gate, no open is answered.
    let files = try (0..<5).map { _ in try HostFile(mounted.file("held"), O_RDONLY) }
    let readers = files.map { file in Waiter { try? file.read(16, at: 0).count } }
    try #require(arrived(3, at: tree))
    usleep(50_000)
    #expect(tree.readersAtGate.load(ordering: .relaxed) == 3)
    for _ in readers { tree.gate.signal() }
    #expect(readers.allSatisfy { $0.result() == 16 })
  }

  @Test func oneThreadIsEnough() throws {
    let mounted = try Mounted(MemoryTree(), threads: 1)
    for _ in 0..<100 { #expect(try HostFile(mounted.file("data")).read(1, at: 5) == [0]) }
  }

  @Test func theEndFindsThreadsThatAreParkedAndThreadsThatWait() throws {
    let tree = MemoryTree()
    let mounted = try Mounted(tree)
    let readers = readers(20, of: mounted.file("held"))
    try #require(arrived(20, at: tree))
    for _ in 0..<12 { tree.gate.signal() }
    try mounted.session.unmount(lazy: true)
    for _ in 0..<8 { tree.gate.signal() }
    #expect(readers.allSatisfy { $0.result() == 16 })
    try mounted.waitForEnd()
  }
}
