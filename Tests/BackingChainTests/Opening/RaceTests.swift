import BackingChain
import Foundation
import Synchronization
import Testing

@Suite struct RaceTests {
  /// Somebody turns a link in the image's directory between a file beside it and one elsewhere, all the time.
  @Test func aLinkThatIsTurnedWhileItIsJudgedNeverOpensTheOtherFile() throws {
    let folder = try ImageFolder()
    let outside = try ImageFolder()
    let inside = try folder.raw("inside")
    let canary = try outside.raw("canary")
    let top = try folder.overlay("top", on: "link")
    let isDone = Atomic(false)
    let ended = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      var targets = [canary, inside]
      while !isDone.load(ordering: .relaxed) {
        _ = try? folder.link("new", to: targets[0])
        _ = unsafe rename(folder.path("new"), folder.path("link"))
        targets.swapAt(0, 1)
      }
      ended.signal()
    }
    defer {
      isDone.store(true, ordering: .relaxed)
      ended.wait()
    }
    var opened = 0
    for _ in 0..<500 {
      guard let chain = try? ChainOpener.open(path: top, options: .reading) else { continue }
      #expect(chain.layers[1].path == inside)
      opened += 1
    }
    #expect(opened > 0)
  }
}
