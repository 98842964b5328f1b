import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format
import RawFormat
import TestSupport
import Testing

/// Cuts the power at every moment of random programs, loses every kind of unsynced write, and looks at the data.
@Suite struct PowerCutTests {
  /// Crash states for each program.
  static let states = 200

  @Test(arguments: CrashGeometry.all)
  func nothingSyncedIsLostAndNothingForeignAppears(_ geometry: CrashGeometry) throws {
    for seed in TestRun.seeds(3) {
      var program = try CrashProgram(geometry, seed: seed)
      // A snapshot that needs the backing file forbids completion.
      try program.run(steps: 25, completes: geometry.history != .snapshot)
      judge(program)
    }
  }

  private func judge(_ program: CrashProgram) {
    let replay = CrashReplay(initial: program.initial, log: program.storage.log)
    replay.states(limit: Self.states, seed: program.seed) { state in
      let place = "\(program)\nposition \(state.position) state \(state.number)"
      let disk: [UInt8]
      do {
        let header = try Qcow2Header.read(from: state.storage)
        expectName(header, program, at: state.position, place)
        let report = try Qcow2Check.run(on: header, in: state.storage)
        #expect(report.errors == 0, "\(place): \(report.findings)")
        disk = try CrashProgram.chain(active: state.storage, base: program.base).wholeDisk()
      } catch {
        Issue.record("\(place): \(error)")
        return
      }
      if let violation = program.oracle.violation(in: disk, at: state.position) {
        Issue.record("\(place): \(violation)")
      }
    }
  }

  /// Before the switch began the old name, after it had returned the new one, in between either.
  private func expectName(_ header: Qcow2Header, _ program: CrashProgram, at position: Int, _ place: String) {
    let old = RecordedBacking(name: Array("base.raw".utf8), format: "raw")
    guard program.geometry.history == .fresh else { return }
    if let completion = program.completion, position >= completion.ended {
      #expect(header.backing == nil, "\(place)")
    } else if program.completion == nil || position <= program.completion?.began ?? 0 {
      #expect(header.backing == old, "\(place)")
    } else {
      #expect(header.backing == nil || header.backing == old, "\(place)")
    }
  }
}
