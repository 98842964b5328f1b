import BackingChain
import HostStorage
import ImageFormat

/// Something for a worker to do, with no lock held.
struct JobTask: Sendable {
  enum Work: Sendable {
    case measure
    case checkSpace
    case scan(from: GuestOffset)
    /// `hinted`: out of turn, because the guest reads there.
    case populate(GuestRange, hinted: Bool)
    case prepare(CompletionPlan)
    case complete(CompletionPlan)
  }

  enum Outcome: Sendable {
    case measured(ByteCount)
    case space(free: ByteCount, total: ByteCount)
    case found(GuestRange?)
    case populated(ByteCount)
    case done
    case failed(ChainError)
  }

  let work: Work
  let base: Layer?
  /// See `JobCore.generation`.
  let generation: Int

  func perform(on target: any StreamTarget) -> Outcome {
    do throws(ChainError) {
      switch work {
      case .measure: return .measured(try target.remaining(above: base))
      case .checkSpace:
        let (free, total) = try target.space()
        return .space(free: free, total: total)
      case .scan(let offset): return .found(try target.nextUnpopulated(from: offset, above: base))
      case .populate(let range, _): return .populated(try target.populate(range, above: base))
      case .prepare(let plan): try target.prepareCompletion(plan)
      case .complete(let plan): try target.complete(plan)
      }
      return .done
    } catch {
      return .failed(error)
    }
  }
}
