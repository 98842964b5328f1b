import Foundation
import TestSupport
import Testing

/// Images of QEMU's whose metadata is damaged, each by the check, the repair, and a mount for writing. QEMU's check is the
/// oracle: what it calls damaged is called so here, and what is repaired here is clean there. What is refused is not changed.
@Suite(.timeLimit(.minutes(60))) struct DamagedImageTests {
  /// Of all damages, the gate tries every so manieth.
  private static let stride = TestRun.isFull ? 1 : 17
  /// Pairs of damages, for each template.
  private static let pairs: UInt64 = 150

  @Test(arguments: DamageTemplate.allCases)
  func whatIsDamagedIsNotCalledCleanAndWhatIsRefusedIsNotChanged(_ template: DamageTemplate) throws {
    let directory = try TemporaryDirectory()
    let (whole, data) = try template.make(in: directory)
    var judge = DamageJudge(image: directory.path("disk.qcow2"), template: template, data: data)
    let single = ImageDamage.all(in: whole, of: template)
    let pairs = (0..<Self.pairs).map { seed in
      var random = SeededRandom(seed: seed)
      let index = Int.random(in: 0..<single.count, using: &random)
      return single[index].and(single[Int.random(in: 0..<single.count, using: &random)])
    }
    for (index, damage) in (single + pairs).enumerated() where index % (Self.stride * template.share) == 0 {
      try judge.judge(damage, of: whole)
    }
    let tally = judge.tally
    #expect(tally.violations == [], "\(tally.violations.count)")
    #expect(tally.opened > 0 && tally.refused > 0 && tally.repaired > 0 && tally.notRepaired > 0, "\(tally)")
    if TestRun.isFull {
      print(
        "damaged images of \(template): \(tally.images), QEMU \(tally.byQemu), opened \(tally.opened), refused \(tally.refused),",
        "repaired \(tally.repaired), not \(tally.notRepaired), stricter \(tally.stricter)")
    }
  }
}
