import BackingChain
import HostStorage

extension StreamJob {
  /// Asks for the completion with `line`, the backing-file string to record (empty: to be worked out).
  ///
  /// `onDone` is called exactly once, from any thread, maybe before this returns: at once with what is known
  /// beforehand; else, `blocking`, with the outcome, and otherwise as soon as the completion is armed. Nothing is held
  /// meanwhile: the line is looked up by a thread of its own, for a base may hang.
  package func requestCompletion(
    _ line: [UInt8], blocking: Bool, onDone: @escaping @Sendable (Result<Void, StreamError>) -> Void
  ) -> CompletionTicket {
    let waiter = Completion.Waiter(isBlocking: blocking, answer: onDone)
    update { $0.planning.append(waiter) }
    do throws(StorageError) {
      try HostThread.start(name: "flatcow-control") { self.plan(line, for: waiter) }
    } catch {
      update { $0.refuse(waiter, with: StreamError(ChainError(error))) }
    }
    return waiter.ticket
  }

  /// Takes a request back, which is then answered with `.withdrawn` at once; without effect when header writing has begun
  /// or the request is answered.
  package func withdraw(_ ticket: CompletionTicket) { update { $0.withdraw(ticket) } }

  private func plan(_ line: [UInt8], for waiter: Completion.Waiter) {
    do throws(StreamError) {
      var planned: PlannedLine?
      while try !update({ core throws(StreamError) in try core.accept(waiter, line: line, planned: planned) }) {
        let (base, chainNumber) = core.read { ($0.configuredBase, $0.chainNumber) }
        let plan = try StreamError.wrapping { () throws(ChainError) in try target.plan(line, keeping: base) }
        planned = PlannedLine(plan: plan, base: base, chainNumber: chainNumber)
        try startWorkers()
      }
    } catch {
      update { $0.refuse(waiter, with: error) }
    }
  }
}
