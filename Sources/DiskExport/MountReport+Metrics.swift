import BackingChain
import HostStorage
import ImageFormat
import StreamJob

extension MountReport {
  /// `metrics`: Prometheus' text format, version 0.0.4.
  var metrics: String {
    let status = job.status
    let counters = disk.counters
    return [
      metric("up", .gauge, "Whether the mount answers.", 1),
      metric("virtual_size_bytes", .gauge, "Size of the disk.", chain.virtualSize.bytes),
      metric("layers", .gauge, "Open images of the chain.", chain.snapshot.layers.count),
      states(status.state),
      metric("stream_done_bytes", .gauge, "How far the stream job has looked through the disk.", status.done.bytes),
      metric("stream_total_bytes", .gauge, "What the stream job has to look through.", status.total.bytes),
      metric("stream_remaining_bytes", .gauge, "What the stream job has still to copy.", status.remaining.bytes),
      metric("stream_copied_bytes_total", .counter, "What the stream job has copied.", status.copied.bytes),
      metric("stream_speed_limit_bytes", .gauge, "Bytes per second at most; 0 is unlimited.", status.speed.bytes),
      metric("reads_total", .counter, "Reads of the disk.", counters.reads.requests),
      metric("read_bytes_total", .counter, "Bytes read from the disk.", counters.reads.bytes),
      metric("writes_total", .counter, "Writes to the disk.", counters.writes.requests),
      metric("written_bytes_total", .counter, "Bytes written to the disk.", counters.writes.bytes),
      metric("zeros_total", .counter, "Holes punched and ranges zeroed.", counters.zeros.requests),
      metric("zeroed_bytes_total", .counter, "Bytes of them.", counters.zeros.bytes),
      metric("flushes_total", .counter, "Syncs that were asked for.", counters.flushes.requests),
      metric("errors_total", .counter, "Requests to the disk that failed.", disk.faults.errors),
      metric("corruptions_total", .counter, "Those that met a damaged image.", disk.faults.corruptions),
      metric("parked_writes", .gauge, "Writes that wait for space.", disk.parked.count),
      metric("durability_failing", .gauge, "Whether the last flush failed.", chain.durability.failure == nil ? 0 : 1),
      metric("durability_lost", .gauge, "Whether written data was lost.", chain.isDurabilityLost ? 1 : 0),
    ].joined()
  }

  private enum Kind: String { case gauge, counter }

  private func metric(_ name: String, _ kind: Kind, _ help: String, _ value: Int) -> String {
    heading(name, kind, help) + "flatcow_\(name) \(value)\n"
  }

  private func heading(_ name: String, _ kind: Kind, _ help: String) -> String {
    "# HELP flatcow_\(name) \(help)\n# TYPE flatcow_\(name) \(kind.rawValue)\n"
  }

  private func states(_ current: JobState) -> String {
    let name = "stream_state"
    return heading(name, .gauge, "1 for the state that the stream job is in.")
      + JobState.allCases.map { state in
        "flatcow_\(name){state=\"\(state.rawValue)\"} \(state == current ? 1 : 0)\n"
      }.joined()
  }
}
