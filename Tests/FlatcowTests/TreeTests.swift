import HostStorage
import StreamJob
import Testing

@testable import flatcow

@Suite struct MountTableTests {
  @Test func namesAreUnescaped() {
    let line = #"36 35 0:40 / /mnt/a\040b\134c rw,nosuid shared:1 - fuse.flatcow /img/top\011.qcow2 rw,user_id=0"#
    let expected = MountEntry(
      mountpoint: #"/mnt/a b\c"#, type: "fuse.flatcow", source: "/img/top\t.qcow2", device: "0:40")
    #expect(MountTable.parse(line + "\n") == [expected])
  }

  @Test func linesWithoutATypeAreSkipped() {
    #expect(MountTable.parse("36 35 0:40 / /mnt rw\n\nx - y\n") == [])
  }

  @Test func aMountOverAnotherHidesIt() {
    let lower = MountEntry(mountpoint: "/mnt", type: "fuse.flatcow", source: "a")
    let upper = MountEntry(mountpoint: "/mnt", type: "ext4", source: "b")
    let other = MountEntry(mountpoint: "/mnt2", type: "fuse.flatcow", source: "c")
    #expect(MountTable.visible([lower, other, upper]) == [other, upper])
  }

  @Test func pathsAreMadeAbsoluteWithoutLooking() {
    #expect(absolute("/a//b/./c/../d/") == "/a/b/d")
    #expect(absolute("/..") == "/")
    #expect(absolute("x") == "\(HostMounts.workingDirectory)/x")
  }

  @Test func anOrdinaryDirectoryIsNoMount() throws {
    let error = try #require(throws: CommandError.self) { try MountedTree(at: "/") }
    #expect(error.outcome == .environment)
  }
}

@Suite struct ProgressLineTests {
  private func status(_ state: JobState, done: Int, remaining: Int) -> JobStatus {
    JobStatus(state: state, done: ByteCount(done), total: 100, remaining: ByteCount(remaining), error: "")
  }

  @Test func aRunningJobShowsRateAndTimeLeft() {
    var line = ProgressLine()
    _ = line.text(for: status(.running, done: 0, remaining: 100 << 20), at: .seconds(0))
    let text = line.text(for: status(.running, done: 50, remaining: 80 << 20), at: .seconds(2))
    #expect(text == "[############------------]  50 %  80 MiB to copy  10 MiB/s  0:09 left")
  }

  @Test func withoutTwoLooksThereIsNoRate() {
    var line = ProgressLine()
    let text = line.text(for: status(.running, done: 99, remaining: 5), at: .seconds(0))
    #expect(text == "[#######################-]  99 %  5 B to copy")
  }

  @Test func aWaitingJobSaysWhatItWaitsFor() {
    var line = ProgressLine()
    let text = line.text(for: status(.pending, done: 100, remaining: 0), at: .seconds(0))
    #expect(text == "[########################] 100 %  all copied; waiting for `flatcow finish`")
  }

  @Test func theRateForgetsWhatWasBeforeThePause() {
    var line = ProgressLine()
    for (second, remaining) in [(0, 1000), (1, 900), (60, 900), (61, 800), (62, 700)] {
      _ = line.text(for: status(.running, done: 0, remaining: remaining << 20), at: .seconds(second))
    }
    let text = line.text(for: status(.running, done: 0, remaining: 600 << 20), at: .seconds(63))
    #expect(text.contains("100 MiB/s"))
  }
}

@Suite struct MetricsTests {
  @Test func pagesOfSeveralMountsBecomeOne() {
    var metrics = Metrics()
    let page = """
      # HELP flatcow_reads_total Reads.
      # TYPE flatcow_reads_total counter
      flatcow_reads_total 3
      flatcow_layer_bytes{layer="0"} 5
      """
    metrics.add(page: page, mountpoint: "/mnt/a")
    metrics.add(page: page, mountpoint: "/mnt/\"b")
    metrics.add(page: nil, mountpoint: "/mnt/dead")
    let expected = """
      # HELP flatcow_up Whether the mount answers.
      # TYPE flatcow_up gauge
      flatcow_up{mountpoint="/mnt/a"} 1
      flatcow_up{mountpoint="/mnt/\\"b"} 1
      flatcow_up{mountpoint="/mnt/dead"} 0
      # HELP flatcow_reads_total Reads.
      # TYPE flatcow_reads_total counter
      flatcow_reads_total{mountpoint="/mnt/a"} 3
      flatcow_reads_total{mountpoint="/mnt/\\"b"} 3
      flatcow_layer_bytes{mountpoint="/mnt/a",layer="0"} 5
      flatcow_layer_bytes{mountpoint="/mnt/\\"b",layer="0"} 5

      """
    #expect(metrics.text == expected)
  }
}
