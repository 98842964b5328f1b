package import BackingChain
package import FUSESession
import HostStorage
import ImageFormat
package import StreamJob
import Synchronization

/// A chain that is mounted: its tree, its job and its connection to the kernel.
package final class MountedDisk: Sendable {
  /// How a mount has ended.
  package enum Outcome: Sendable {
    /// All that was written is durable, and the images are closed and unlocked.
    case clean
    /// Written data was lost; a sentence.
    case lost(String)
  }

  package let job: StreamJob
  private let chain: BackingChain
  private let session: FUSESession
  private let options: ExportOptions
  private let outcome = Mutex<Outcome?>(nil)

  /// Mounts `chain`, and starts the job. What concerns the job never makes it fail: see `job.status`.
  ///
  /// From the return on, every access waits for `run`. When it throws, the chain is still the caller's to close.
  package init(chain: BackingChain, options: ExportOptions) throws(FUSESessionError) {
    self.chain = chain
    self.options = options
    job = StreamJob(chain, options: options.job)
    chain.onDurabilityChange { durability in options.log("\(options.source): \(durability.sentence)") }
    let link = SessionLink()
    let tree = ExportTree(chain: chain, job: job, options: options, session: link)
    do throws(FUSESessionError) {
      session = try FUSESession.mount(
        at: options.mountPoint,
        options: MountOptions(
          source: options.source, isReadOnly: !chain.isWritable, allowsOthers: options.allowsOthers,
          usesWriteback: options.cachesPages, context: options.context),
        fileSystem: tree)
      link.connect(session)
    } catch {
      _ = job.shutDown(patience: Self.patience)
      throw error
    }
  }

  /// How long the job's workers may take to come home, and dirty pages to arrive when the mount is given up; longer than
  /// any disk takes that still answers.
  private static let patience: Duration = .seconds(10)

  /// Serves until the kernel has ended the connection, then makes everything durable and closes the chain.
  package func run() -> Outcome {
    do throws(FUSESessionError) {
      try session.run(threads: options.threads)
    } catch {
      options.log("\(error.path): \(error.reason)")
    }
    return finish()
  }

  /// Ends the job, and unmounts; `run` then returns. What is still open stays usable: then it returns after the last
  /// close.
  package func end() {
    _ = job.shutDown(patience: .zero)
    do throws(FUSESessionError) {
      do throws(FUSESessionError) {
        try session.unmount()
      } catch  where error.code == .busy {
        options.log("\(options.mountPoint): in use; it is served until the last file in it is closed")
        try session.unmount(lazy: true)
      }
    } catch {
      options.log("\(error.path): \(error.reason)")
    }
  }

  /// Gives up waiting for the last close: what the kernel still keeps is written back, and everything made durable. The
  /// images stay open, for requests may come until the process ends, which it should do at once.
  package func giveUp() -> Outcome {
    let isWrittenBack = Monitor(false)
    // By another thread: a page that is being read from a base that hangs is waited for, too.
    _ = try? HostThread.start(name: "flatcow-giveup") { [session] in
      session.invalidateData(of: Node.disk.inode)
      isWrittenBack.withLock { $0 = true }
    }
    isWrittenBack.wait(deadline: .now + Self.patience) { $0 ? () : nil }
    return ending { () throws(ChainError) in try chain.flush() }
  }

  private func finish() -> Outcome {
    // A worker that hangs in a base holds the chain's layers; the end of the process will close them.
    let isHome = job.shutDown(patience: Self.patience)
    return ending { () throws(ChainError) in if isHome { try chain.close() } else { try chain.flush() } }
  }

  /// A mount ends once, whoever comes first: what is closed could not be flushed any more.
  private func ending(_ body: () throws(ChainError) -> Void) -> Outcome {
    outcome.withLock { outcome in
      if let outcome { return outcome }
      var failure: ChainError?
      do throws(ChainError) { try body() } catch { failure = error }
      let ended = (chain.durabilityLoss ?? failure).map { Outcome.lost($0.message) } ?? .clean
      outcome = ended
      return ended
    }
  }
}
