import BackingChain

// MARK: Requests

extension JobCore {
  /// Takes part in a completion of the same line that is on its way; false: there is none.
  private mutating func join(_ waiter: Completion.Waiter, line: [UInt8]) throws(StreamError) -> Bool {
    try checkUsable()
    if waiter.isBlocking {
      if pause.byUser {
        throw StreamError(.busy, "the stream job is paused; resume it first, or write without waiting")
      }
      if let error = pause.error { throw error }
    }
    if let completion, !completion.waiters.isEmpty || state == .finishing, completion.line != line {
      throw StreamError(.busy, "another completion is waiting or under way")
    }
    guard state.hasJob, completion?.line == line else { return false }
    completion?.join(waiter)
    if !waiter.isBlocking { answer([waiter], with: .success(())) }
    return true
  }

  /// Takes a line that joins, or one that is planned: that replaces one that is only armed, and starts a job where there
  /// is none. false: it has to be planned, or planned again, for the chain and the base as they are now.
  mutating func accept(
    _ waiter: Completion.Waiter, line: [UInt8], planned: PlannedLine?
  ) throws(StreamError) -> Bool {
    // Withdrawn meanwhile?
    guard let index = planning.firstIndex(where: { $0.ticket === waiter.ticket }) else { return true }
    if try !join(waiter, line: line) {
      guard let planned, planned.base === configuredBase, planned.chainNumber == chainNumber else { return false }
      let before = base
      completion = Completion(line: line, plan: planned.plan)
      completion?.join(waiter)
      if !waiter.isBlocking { answer([waiter], with: .success(())) }
      if !state.hasJob { start() } else if base !== before { baseChanged() }
      finishIfAsked()
    }
    planning.remove(at: index)
    return true
  }

  mutating func refuse(_ waiter: Completion.Waiter, with error: StreamError) {
    guard let index = planning.firstIndex(where: { $0.ticket === waiter.ticket }) else { return }
    planning.remove(at: index)
    if error.code == .chain { lastError = error }
    answer([waiter], with: .failure(error))
  }

  /// Answers those whose line is still being worked out.
  mutating func dropPlanning(with error: StreamError) {
    answer(planning, with: .failure(error))
    planning = []
  }

  /// Without effect once header writing has begun, or the request is answered.
  mutating func withdraw(_ ticket: CompletionTicket) {
    let error = StreamError(.withdrawn, "the completion was withdrawn")
    let isMeant = { (waiter: Completion.Waiter) in waiter.ticket === ticket }
    answer(planning.filter(isMeant), with: .failure(error))
    planning.removeAll(where: isMeant)
    guard finishing != .completing else { return }
    answer(completion?.waiters.filter(isMeant) ?? [], with: .failure(error))
    completion?.waiters.removeAll(where: isMeant)
    if state == .finishing, completion?.isArmed == false, completion?.waiters.isEmpty == true {
      move(.withdraw)
      supersede()
    }
    forgetUnlessArmed()
  }
}

// MARK: Outcomes

extension JobCore {
  mutating func answerWaiters(with error: StreamError) {
    answer(completion?.waiters ?? [], with: .failure(error))
    completion?.waiters = []
  }

  mutating func succeed() {
    answer(completion?.waiters ?? [], with: .success(()))
    completion = nil
    chainNumber += 1
    lastError = nil
    end(.recorded)
  }

  mutating func answer(_ waiters: [Completion.Waiter], with result: Result<Void, StreamError>) {
    calls += waiters.map { waiter in { waiter.answer(result) } }
  }

  /// A completion that nobody waits for and that is not armed is gone, and with it its base.
  mutating func forgetUnlessArmed() {
    guard let completion, completion.waiters.isEmpty, !completion.isArmed else { return }
    self.completion = nil
    if completion.plan.base !== base { baseChanged() }
  }
}
