import ArgumentParser
import BackingChain
import HostStorage

struct Mount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mounts a chain; returns when the mount answers.",
    discussion: """
      The options of -o, the defaults first:
        rw | ro
        stream=on | paused | off, base=NAME, backing-file=STRING,
        speed=RATE (0), min-free=SIZE or PERCENT (5%),
        on-error=enospc | report | ignore | stop
        cache=writeback | none, discard=unmap | ignore, threads=N,
        no-space-timeout=SECONDS (60)
        lock=on | off, format=FMT, backing-format=FMT[:FMT...],
        backing-root=DIR, trust-chain, no-backing, data-file=deny | allow,
        allow-block, max-depth=N (256), bitmaps=drop
        uid=N, gid=N, mode=OCTAL, allow_other, fsname=NAME, context=CONTEXT
      \(Configuration.path) sets other defaults, a KEY=VALUE a line.
      """)
  @Argument(help: "The active image of the chain.")
  var image: String
  @Argument(help: "The directory on which it appears.")
  var mountpoint: String
  @Flag(name: .short, help: "Only for reading.")
  var readOnly = false
  @Flag(name: .short, help: "Stay in the foreground, and log to stderr.")
  var foreground = false
  @Option(name: .customShort("o"), help: ArgumentHelp("Options, separated by commas.", valueName: "options"))
  var options: [String] = []
  @Option(help: ArgumentHelp("Written when the mount answers, and removed at its end.", valueName: "file"))
  var pidFile: String?
  /// A mount in the background is started with the descriptor on which it reports that it answers.
  @Option(help: .hidden)
  var reportDescriptor: Int32?

  func run() throws {
    var settings = try Configuration.defaults()
    for list in (readOnly ? ["ro"] : []) + options { try settings.apply(list) }
    if readOnly { settings.chain.isReadOnly = true }
    if !foreground && reportDescriptor == nil { return try startDaemon() }
    let request = MountRequest(
      image: image, mountpoint: mountpoint, options: settings, pidFile: pidFile, isDaemon: reportDescriptor != nil)
    let service =
      if let reportDescriptor { try startService(request, reportingOn: reportDescriptor) } else {
        try MountService(request)
      }
    let outcome = service.serve()
    if outcome != .done { throw ExitCode(outcome.code) }
  }

  /// Whoever started this process waits for the report, and everything is said before it.
  private func startService(_ request: MountRequest, reportingOn descriptor: Int32) throws -> MountService {
    let service: MountService
    do {
      service = try MountService(request)
    } catch {
      printNote(error.sentence)
      HostProcess.report(UInt8(error.outcome.code), on: descriptor)
      throw ExitCode(error.outcome.code)
    }
    HostProcess.report(0, on: descriptor)
    return service
  }

  /// A process cannot go to the background once it has threads, so another one is started that has not been in front;
  /// it says for itself what goes wrong.
  private func startDaemon() throws {
    var arguments = options.flatMap { ["-o", $0] }
    if readOnly { arguments.append("-r") }
    if let pidFile { arguments += ["--pid-file", pidFile] }
    arguments += ["--", image, mountpoint]
    let passed = [image, mountpoint].filter { $0.hasPrefix("/dev/fd/") }.compactMap { Int32($0.dropFirst(8)) }
    let code: UInt8?
    do {
      code = try HostProcess.startDaemon(keeping: passed) { descriptor in
        ["flatcow", "mount", "--report-descriptor", "\(descriptor)"] + arguments
      }
    } catch {
      throw CommandError(error)
    }
    guard let code else {
      throw CommandError(
        .environment, "\(image): the process for the mount ended before it answered; the system's log may say why")
    }
    if code != 0 { throw ExitCode(Int32(code)) }
  }
}
