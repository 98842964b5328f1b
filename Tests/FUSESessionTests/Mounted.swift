import FUSESession
import Foundation
import Synchronization

/// A file system that is mounted in a directory of its own and served by a thread, for the life of this object.
final class Mounted: Sendable {
  let session: FUSESession
  let path: String
  /// Posted when `run` returns; its error, if any.
  private let ended = DispatchSemaphore(value: 0)
  private let failure = Mutex<FUSESessionError?>(nil)

  init(_ tree: any FileSystem, threads: Int = 64, configure: (inout MountOptions) -> Void = { _ in }) throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("flatcow-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    var options = MountOptions(source: "a,b\\c")
    configure(&options)
    do {
      session = try FUSESession.mount(at: path, options: options, fileSystem: tree)
    } catch {
      unsafe rmdir(path)
      throw error
    }
    let (session, ended) = (session, ended)
    Thread.detachNewThread { [weak self] in
      do throws(FUSESessionError) {
        try session.run(threads: threads)
      } catch {
        self?.failure.withLock { $0 = error }
      }
      ended.signal()
    }
  }

  deinit {
    try? session.unmount(lazy: true)
    unsafe rmdir(path)
  }

  func file(_ name: String) -> String { path + "/" + name }

  /// Waits until `run` has returned, and throws what it threw.
  func waitForEnd() throws {
    ended.wait()
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  var isEnded: Bool {
    guard ended.wait(timeout: .now()) == .success else { return false }
    ended.signal()
    return true
  }
}
