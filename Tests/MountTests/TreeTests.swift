import BackingChain
import DiskExport
import Foundation
import HostStorage
import StreamJob
import TestSupport
import Testing

/// The files beside `disk` and `control`.
@Suite(.enabled(if: canMount, "this user may not open /dev/fuse"), .timeLimit(.minutes(2)))
struct TreeTests {
  let images: Images
  let top: String

  init() throws {
    images = try Images()
    try images.raw("base.raw", [UInt8](repeating: 7, count: 1 << 20))
    top = try images.qcow2("top.qcow2", over: "base.raw")
  }

  private func pausedMount() throws -> TestMount { try TestMount(top) { $0.job.start = .paused } }

  /// As `echo VALUE > stream/NAME`.
  private func write(_ value: String, to name: String, of mount: TestMount) throws {
    try HostFile(mount.path("stream/\(name)"), O_WRONLY | O_TRUNC).write(Array("\(value)\n".utf8), at: 0)
  }

  @Test func theNamesAndModesAreThoseOfTheContract() throws {
    let mount = try pausedMount()
    let listing = try shell("cd $MNT && find . -mindepth 1 -printf '%P %y %m\\n' | sort", in: mount).output
    #expect(
      listing == """
        chain f 444
        control f 600
        disk f 600
        metrics f 444
        status.json f 444
        stream d 555
        stream/base f 644
        stream/error f 444
        stream/on-error f 644
        stream/progress f 444
        stream/remaining f 444
        stream/speed f 644
        stream/state f 644

        """)
  }

  @Test func nothingCanBeMadeOrTakenAway() throws {
    let mount = try pausedMount()
    for line in ["touch $MNT/new", "rm -f $MNT/disk", "mv $MNT/chain $MNT/stream/chain", "mkdir $MNT/d"] {
      #expect(try shell(line, in: mount).output.contains("Operation not permitted"), "\(line)")
    }
  }

  @Test func whatItShowsCanBeCopied() throws {
    let mount = try pausedMount()
    let copy = images.path("copy")
    for name in ["disk", "control", "chain", "status.json", "metrics", "stream/speed", "stream/state", "stream/base"] {
      let outcome = try shell("cp $MNT/\(name) \(copy)", in: mount)
      #expect(outcome.succeeded, "\(outcome.output)")
    }
    let outcome = try shell("cp -a $MNT \(images.path("tree"))", in: mount)
    #expect(outcome.succeeded, "\(outcome.output)")
  }

  /// By readdir(3), stat(2) before and after, and fstat(2).
  @Test func eachFileKeepsAnInodeNumberOfItsOwn() throws {
    let mount = try pausedMount()
    let listing = try shell("cd $MNT && ls -1iR | sed -n 's/^ *\\([0-9][0-9]*\\) /\\1 /p' | sort", in: mount).output
    for _ in 0..<2 {
      let found = try shell("cd $MNT && find . -mindepth 1 -printf '%i %f\\n' | sort", in: mount).output
      #expect(found == listing)
    }
    let numbers = listing.split(separator: "\n").compactMap { $0.split(separator: " ").first }
    #expect(numbers.count == 13 && Set(numbers).count == 13)
    var status = stat()
    for name in ["disk", "control", "stream/state"] {
      let file = try HostFile(mount.path(name), O_RDONLY)
      try HostError.check(unsafe fstat(file.descriptor, &status))
      let base = name.split(separator: "/").last ?? ""
      #expect(listing.contains("\(status.st_ino) \(base)\n"))
      #expect(try shell("find $MNT -inum \(status.st_ino)", in: mount).output == "\(mount.path(name))\n")
    }
  }

  @Test func eachFileHasOneValue() throws {
    let mount = try pausedMount()
    let base = images.path("base.raw")
    #expect(try mount.text("chain") == "0 qcow2 \(images.size) \(top)\n1 raw \(images.size) \(base)\n")
    #expect(try mount.text("stream/state") == "paused\n")
    #expect(try mount.text("stream/progress") == "0 \(images.size)\n")
    #expect(eventually { (try? mount.text("stream/remaining")) == "\(1 << 20)\n" ? true : nil } == true)
    #expect(try mount.text("stream/speed") == "0\n")
    #expect(try mount.text("stream/on-error") == "enospc\n")
    #expect(try mount.text("stream/base") == "\n")
    #expect(try mount.text("stream/error") == "\n")
  }

  @Test(arguments: [
    ("speed", "1M", "1048576"), ("speed", "2K", "2048"), ("speed", "0", "0"), ("on-error", "stop", "stop"),
    ("on-error", "ignore", "ignore"), ("base", "base.raw", nil), ("base", "", ""), ("state", "cancelled", "cancelled"),
  ]) func aValueIsTakenAndShown(_ name: String, _ value: String, _ shown: String?) throws {
    let mount = try pausedMount()
    try write(value, to: name, of: mount)
    let text = try mount.text("stream/\(name)")
    #expect(text == "\(shown ?? images.path("base.raw"))\n")
  }

  @Test(arguments: [
    ("speed", "fast"), ("speed", ""), ("speed", "-1"), ("speed", "1 M"), ("speed", "1KB"), ("speed", "K"),
    ("speed", "99999999999G"), ("on-error", "Stop"), ("on-error", ""), ("state", "pending"), ("state", "run"),
    ("base", "elsewhere.raw"),
  ]) func anythingElseIsInvalid(_ name: String, _ value: String) throws {
    let mount = try pausedMount()
    let before = try mount.text("stream/\(name)")
    #expect(throws: HostError(EINVAL)) { try write(value, to: name, of: mount) }
    #expect(try mount.text("stream/\(name)") == before)
  }

  @Test func aFileThatOnlyTellsCannotBeWritten() throws {
    let mount = try pausedMount()
    for name in ["chain", "status.json", "metrics", "stream/progress", "stream/remaining", "stream/error"] {
      #expect(throws: HostError(EACCES)) { try HostFile(mount.path(name), O_WRONLY) }
    }
  }

  @Test func aWriteFurtherOnIsInvalid() throws {
    let mount = try pausedMount()
    let state = try HostFile(mount.path("stream/state"), O_WRONLY)
    #expect(throws: HostError(EINVAL)) { try state.write(Array("running".utf8), at: 1) }
  }

  @Test func aJobIsSteeredByWords() throws {
    let mount = try pausedMount()
    #expect(try shell("echo running > $MNT/stream/state", in: mount).succeeded)
    #expect(eventually { (try? mount.text("stream/state")) == "pending\n" ? true : nil } == true)
    #expect(try mount.text("stream/progress") == "\(images.size) \(images.size)\n")
    #expect(try mount.text("stream/remaining") == "0\n")
    #expect(try shell("echo cancelled > $MNT/stream/state", in: mount).succeeded)
    #expect(throws: HostError(EINVAL)) { try write("paused", to: "state", of: mount) }
  }

  @Test func aReaderInSmallPiecesReadsOneValue() throws {
    let mount = try pausedMount()
    let status = try HostFile(mount.path("status.json"), O_RDONLY)
    let head = try status.read(10, at: 0)
    #expect(try shell("echo cancelled > $MNT/stream/state", in: mount).succeeded)
    let text = try String(decoding: head + status.read(100_000, at: 10), as: UTF8.self)
    let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    #expect(object?["state"] as? String == "paused")
  }

  @Test func theStatusIsOneObject() throws {
    let mount = try pausedMount()
    let text = try mount.text("status.json")
    let status = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(status["pid"] as? Int == Int(getpid()))
    #expect(status["image"] as? String == top)
    #expect(status["durability"] as? String == "ok")
    #expect(status["state"] as? String == "paused")
    #expect(status["armed"] is NSNull)
    #expect((status["layers"] as? [[String: Any]])?.map { $0["format"] as? String } == ["qcow2", "raw"])
  }

  @Test func theMetricsAreInPrometheusFormat() throws {
    let mount = try pausedMount()
    _ = try HostFile(mount.path("disk")).read(4096, at: 0)
    let text = try mount.text("metrics")
    for line in text.split(separator: "\n") {
      #expect(line.contains(/^(# (HELP|TYPE) flatcow_\w+ .+|flatcow_\w+(\{\w+="[^"]*"\})? \d+)$/), "\(line)")
    }
    #expect(text.contains("\nflatcow_up 1\n"))
    #expect(text.contains("\nflatcow_stream_state{state=\"paused\"} 1\n"))
    #expect(!text.contains("flatcow_reads_total 0\n"))
  }

  @Test func pollWakesWhenTheStateChanges() throws {
    let mount = try pausedMount()
    let state = try HostFile(mount.path("stream/state"), O_RDONLY)
    #expect(try state.read(100, at: 0) == Array("paused\n".utf8))
    @Sendable func isNews(within milliseconds: Int32) -> Bool {
      var request = pollfd(fd: state.descriptor, events: Int16(POLLPRI), revents: 0)
      return unsafe poll(&request, 1, milliseconds) == 1
    }
    #expect(!isNews(within: 0))
    let waiter = Waiter { isNews(within: 30_000) }
    try mount.disk.job.cancel()
    #expect(waiter.result())
    #expect(try state.read(100, at: 0) == Array("cancelled\n".utf8))
    #expect(!isNews(within: 0))
  }

  @Test func anOptionAboutTheJobNeverFailsTheMount() throws {
    let mount = try TestMount(top) { options in
      options.job.start = .on
      options.job.base = Array("gone.qcow2".utf8)
    }
    #expect(try mount.text("stream/state") == "failed\n")
    #expect(try mount.text("stream/error").contains("gone.qcow2"))
    #expect(try HostFile(mount.path("disk")).read(1, at: 0) == [7])
  }

  @Test func theSourceAndTypeAreShown() throws {
    let mount = try pausedMount()
    let table = try String(contentsOfFile: "/proc/mounts", encoding: .utf8)
    #expect(table.contains("\(top) \(mount.path) fuse.flatcow rw,"))
  }
}
