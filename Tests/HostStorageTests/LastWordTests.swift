import Foundation
import Glibc
import HostStorage
import TestSupport
import Testing

@Suite struct LastWordTests {
  private let subject = UUID().uuidString

  private func found() -> [AwaitedWord] { AwaitedWord.all().filter { $0.subject == subject } }

  private func speaker() throws -> LastWord { try LastWord(about: subject) }

  /// What several who wait hear when the process that `body` stands for has ended.
  private func heard(_ body: (LastWord) -> Void) throws -> [String?] {
    var speaker: LastWord? = try speaker()
    let waiters = (1...3).map { _ in Waiter { [subject] in AwaitedWord.all().first { $0.subject == subject }?.wait() } }
    // Each has found it when it holds a descriptor of its own.
    let areWaiting = eventually { found().count >= 4 ? true : nil }
    try #require(areWaiting == true)
    if let speaker { body(speaker) }
    speaker = nil
    return waiters.map { $0.result() }
  }

  @Test func itIsHeardByAllWhoWaitForTheEnd() throws {
    #expect(try heard { $0.say("clean") } == ["clean", "clean", "clean"])
  }

  @Test func whoEndsWithoutAWordHasSaidNothing() throws {
    #expect(try heard { _ in } == [nil, nil, nil])
  }

  @Test func onlyTheFirstWordCounts() throws {
    #expect(
      try heard {
        $0.say("lost"); $0.say("clean")
      } == ["lost", "lost", "lost"])
  }

  @Test func itTellsWhoseItIs() throws {
    let speaker = try speaker()
    let found = found()
    // Looking opens it, and may find that, too.
    #expect(Set(found.map(\.process)) == [getpid()])
    #expect(Set(found.map(\.owner)) == [geteuid()])
    withExtendedLifetime(speaker) {}
  }

  @Test func anotherSubjectIsNotFound() throws {
    let speaker = try LastWord(about: subject + " or so")
    #expect(found().isEmpty)
    withExtendedLifetime(speaker) {}
  }
}
