import BackingChain
import HostStorage
import ImageFormat
import Testing

@testable import DiskExport

@Suite struct FaultLogTests {
  @Test func eachDistinctFaultIsSaidOnce() {
    let lines = Monitor<[String]>([])
    let log = FaultLog { line in lines.withLock { $0.append(line) } }
    for _ in 0..<3 {
      for text in ["a", "b"] { log.note(ChainError(.image, path: "/i", message: text)) }
    }
    #expect(lines.read { $0 } == ["a", "b"])
    #expect(log.errors == 6)
    #expect(log.last == "b")
  }

  @Test func theLogHasAnEnd() {
    let lines = Monitor<[String]>([])
    let log = FaultLog { line in lines.withLock { $0.append(line) } }
    for number in 0..<1500 { log.note(ChainError(.image, path: "/i", message: "\(number)")) }
    #expect(lines.read { $0.count } == 1000)
    #expect(lines.read { $0.last?.contains("only counted") } == true)
    #expect(log.errors == 1500)
  }

  @Test func corruptionIsCountedByItself() {
    let log = FaultLog { _ in }
    log.note(ChainError(ImageError(.corrupt, path: "/i", reason: "r")))
    log.note(ChainError(ImageError(.noSpace, path: "/i", reason: "r")))
    #expect(log.corruptions == 1)
    #expect(log.errors == 2)
  }
}
