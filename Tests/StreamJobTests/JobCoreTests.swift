import BackingChain
import HostStorage
import ImageFormat
import Testing

@testable import StreamJob

/// What the job decides, step by step, without threads: outcomes that come late, and times that pass.
@Suite struct JobCoreTests {
  private let now = SuspendingClock.now

  private func runningCore(_ options: StreamOptions = .plain, size: ByteCount = 0) -> JobCore {
    var core = JobCore(options, size: size)
    core.start()
    return core
  }

  private func next(_ core: inout JobCore, at time: SuspendingClock.Instant? = nil) -> JobTask? {
    guard case .work(let task) = core.turn(sleepingUntil: nil, now: time ?? now) else { return nil }
    return task
  }

  private func measure(_ core: inout JobCore, _ bytes: ByteCount = 1) {
    guard let task = next(&core) else { return }
    core.ended(task, with: .measured(bytes), now: now)
  }

  /// A job that is finishing, and the task that makes all durable.
  private func finishingCore() throws -> (core: JobCore, task: JobTask, ticket: CompletionTicket) {
    var core = runningCore()
    measure(&core)
    #expect(core.state == .pending)
    let waiter = Completion.Waiter(isBlocking: true) { _ in }
    core.planning.append(waiter)
    let plan = CompletionPlan(base: nil, backing: nil)
    let isAccepted = try core.accept(waiter, line: [], planned: PlannedLine(plan: plan, base: nil, chainNumber: 0))
    #expect(isAccepted)
    let task = try #require(next(&core))
    #expect(core.state == .finishing)
    return (core, task, waiter.ticket)
  }

  @Test func theHeaderWaitsUntilNoOtherTaskIsUnderWay() throws {
    var (core, task, _) = try finishingCore()
    core.tasksUnderWay += 1
    core.ended(task, with: .done, now: now)
    #expect(next(&core) == nil)
    core.tasksUnderWay -= 1
    #expect(next(&core) != nil)
    #expect(core.finishing == .completing)
  }

  @Test func aFailureThatComesAfterTheWithdrawalIsNobodys() throws {
    var (core, task, ticket) = try finishingCore()
    core.withdraw(ticket)
    #expect(core.state == .pending)
    core.ended(task, with: .failed(.changed), now: now)
    #expect(core.state == .pending)
  }

  @Test func aWithdrawalAfterTheHeaderWasBegunIsTooLate() throws {
    var (core, task, ticket) = try finishingCore()
    core.ended(task, with: .done, now: now)
    let header = try #require(next(&core))
    core.withdraw(ticket)
    #expect(throws: StreamError.self) { try core.cancel() }
    core.ended(header, with: .done, now: now)
    #expect(core.state == .completed)
  }

  @Test func whatWasLookedUpInAnOlderChainIsLookedUpAgain() throws {
    var (core, task, _) = try finishingCore()
    let waiter = Completion.Waiter(isBlocking: true) { _ in }
    core.planning.append(waiter)
    let stale = PlannedLine(plan: CompletionPlan(base: nil, backing: nil), base: nil, chainNumber: 0)
    core.ended(task, with: .done, now: now)
    core.ended(try #require(next(&core)), with: .done, now: now)
    #expect(core.state == .completed)
    #expect(try !core.accept(waiter, line: [], planned: stale))
    #expect(try !core.setBase(nil, lookedUpIn: 0))
    #expect(core.state == .completed)
  }

  @Test func aSleeperIsToldWhenItsTimeHasChanged() throws {
    var core = runningCore(StreamOptions(start: .on, speed: 10), size: 1_048_576)
    measure(&core)
    let scan = try #require(next(&core))
    core.ended(scan, with: .found(GuestRange(at: GuestOffset(0), count: 1_048_576)), now: now)
    let copy = try #require(next(&core))
    core.ended(copy, with: .populated(65536), now: now)
    guard case .sleep(let slow?) = core.turn(sleepingUntil: nil, now: now) else {
      Issue.record("no sleep")
      return
    }
    #expect(core.turn(sleepingUntil: slow, now: now).map { _ in true } == nil)
    core.limit.bytesPerSecond = 20
    guard case .sleep(let faster?) = core.turn(sleepingUntil: slow, now: now) else {
      Issue.record("the sleeper goes on sleeping")
      return
    }
    #expect(faster < slow)
    #expect(next(&core, at: faster) != nil)
  }

  @Test func theFreeSpaceIsLookedAtBeforeTheFirstCopyAndThenOnceASecond() throws {
    var core = runningCore(StreamOptions(start: .on, minimumFree: .bytes(10)), size: 1_048_576)
    measure(&core)
    let look = try #require(next(&core))
    guard case .checkSpace = look.work else {
      Issue.record("\(look.work)")
      return
    }
    #expect(next(&core) == nil)
    core.ended(look, with: .space(free: 9, total: 100), now: now)
    #expect(core.state == .paused)
    #expect(next(&core) == nil)
    let again = try #require(next(&core, at: now + .seconds(1)))
    core.ended(again, with: .space(free: 10, total: 100), now: now)
    #expect(core.state == .running)
    // A host that cannot say how much is free does not hold the job either.
    let scan = try #require(next(&core))
    guard case .scan = scan.work else {
      Issue.record("\(scan.work)")
      return
    }
    let last = try #require(next(&core, at: now + .seconds(2)))
    core.ended(last, with: .failed(.unreadable), now: now)
    #expect(core.state == .running)
  }

  /// It copied 64 MiB between two looks, and a host of 64 MiB was full.
  @Test func aSmallHostIsLookedAtAgainBeforeItIsFull() {
    var watch = SpaceWatch(.bytes(10))
    watch.looked(now, spare: 1000)
    var looks: [Bool] = []
    for copied in [499, 1] {
      watch.noteCopied(ByteCount(copied))
      looks.append(watch.look(now))
    }
    watch.looked(now, spare: 0)
    looks.append(watch.look(now))
    #expect(looks == [false, true, false])
  }

  @Test func aLateLookAtTheSpaceDoesNotDisturbACompletion() throws {
    var core = JobCore(StreamOptions(start: .on, minimumFree: .bytes(10)), size: 65536)
    core.start()
    core.completion = Completion(line: [], plan: CompletionPlan(base: nil, backing: nil), isArmed: true)
    let measure = try #require(next(&core))
    core.ended(measure, with: .failed(.unreadable), now: now)
    let look = try #require(next(&core))
    core.ended(look, with: .space(free: 10, total: 100), now: now)
    let scan = try #require(next(&core))
    let late = try #require(next(&core, at: now + .seconds(1)))
    core.ended(scan, with: .found(nil), now: now)
    #expect(core.state == .finishing)
    core.ended(late, with: .space(free: 0, total: 100), now: now)
    #expect(core.state == .finishing)
  }

  @Test func theMeasureShrinksWithThePosition() throws {
    var core = runningCore(size: 4_194_304)
    measure(&core, 4_194_304)
    let scan = try #require(next(&core))
    // The guest wrote the first half meanwhile.
    core.ended(scan, with: .found(GuestRange(at: GuestOffset(2_097_152), count: 2_097_152)), now: now)
    #expect(core.status.remaining == 2_097_152)
    #expect(core.status.done == 2_097_152)
  }
}
