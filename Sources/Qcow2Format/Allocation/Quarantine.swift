import HostStorage
import ImageFormat

/// Host ranges that a durable mapping no longer points to, until every request that may have looked them up has ended.
///
/// Each range stands for one reference to every cluster that it touches.
struct Quarantine {
  private var waiting: [(ranges: [HostRange], ticket: RequestTracker.Ticket)] = []

  var isEmpty: Bool { waiting.isEmpty }

  /// Takes in what was dropped by mappings that are durable now.
  mutating func admit(_ ranges: [HostRange]) {
    if !ranges.isEmpty { waiting.append((ranges, RequestTracker.Ticket())) }
  }

  /// Takes out what no running request can know of any more.
  mutating func takeDrained(_ requests: RequestTracker) -> [HostRange] {
    var drained: [HostRange] = []
    var kept: [(ranges: [HostRange], ticket: RequestTracker.Ticket)] = []
    for var entry in waiting {
      if requests.hasDrained(&entry.ticket) {
        drained += entry.ranges
      } else {
        kept.append(entry)
      }
    }
    waiting = kept
    return drained
  }
}
