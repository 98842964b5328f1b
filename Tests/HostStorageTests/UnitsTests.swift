import HostStorage
import Testing

@Suite struct UnitsTests {
  @Test func rangesRoundOutwardAndInward() {
    let range = HostRange(at: HostOffset(700), count: 1000)
    #expect(range.roundedOut(to: 512) == HostRange(at: HostOffset(512), count: 1536))
    #expect(range.roundedIn(to: 512) == HostRange(at: HostOffset(1024), count: 512))
    #expect(range.roundedIn(to: 4096).isEmpty)
  }
}
