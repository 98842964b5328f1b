import Glibc
import TestSupport

/// What a guest or the job does to a disk while one of its storages fails.
struct FaultScenario: Sendable {
  enum Step: Sendable {
    case write(Range<Int>)
    case zero(Range<Int>, reserving: Bool)
    /// `keepingBase`: what lies between the top and base.raw; otherwise all that lies below.
    case populate(keepingBase: Bool)
    case read
    case flush
    case complete(keepingBase: Bool)
  }

  enum Place: Sendable { case top, data, middle, base }

  var name: String
  var make = FaultImages.Make.plain
  var place = Place.top
  /// Whether the faults begin before the image is opened.
  var faultsOpening = false
  /// Without faults, beforehand.
  var before: [Step] = []
  var steps: [Step]

  /// Every one of these on every make of image that it can be done on.
  private static let common: [FaultScenario] = [
    FaultScenario(
      name: "write to unallocated", steps: [.write(17_000..<26_000), .flush, .write(50_000..<50_100), .flush]),
    FaultScenario(
      name: "overwrite",
      steps: [.write(12_288..<16_384), .flush, .write(12_800..<13_312), .write(16_000..<18_000), .flush]),
    FaultScenario(
      name: "zero",
      steps: [.zero(10_000..<30_000, reserving: true), .flush, .zero(40_960..<65_536, reserving: true), .flush]),
    FaultScenario(
      name: "discard and reuse", before: [.write(40_960..<65_536), .flush],
      steps: [.zero(40_960..<61_440, reserving: false), .flush, .flush, .write(0..<12_288), .flush]),
    FaultScenario(
      name: "populate", steps: [.populate(keepingBase: true), .flush, .populate(keepingBase: false), .flush]),
    FaultScenario(
      name: "a guest beside the job",
      steps: [
        .write(21_000..<23_000), .populate(keepingBase: true), .zero(24_576..<40_960, reserving: false), .flush,
        .write(33_000..<35_000), .populate(keepingBase: false), .flush,
      ]),
    FaultScenario(
      name: "flush",
      before: [.write(0..<9000), .zero(30_000..<50_000, reserving: false), .populate(keepingBase: false)],
      steps: [.flush, .flush]),
    FaultScenario(
      name: "flattening", steps: [.write(1000..<9000), .populate(keepingBase: false), .complete(keepingBase: false)]),
    FaultScenario(
      name: "completion that keeps the base",
      steps: [.write(500..<5000), .populate(keepingBase: true), .complete(keepingBase: true), .write(80_000..<81_000)]),
  ]

  private static let special: [FaultScenario] = [
    FaultScenario(
      name: "sub-cluster write", make: .subclusters,
      steps: [.write(1000..<1700), .flush, .write(40_000..<41_000), .zero(512..<2048, reserving: false), .flush]),
    FaultScenario(
      name: "refcount and L2 growth", make: .tiny,
      steps: [.write(3000..<40_000), .flush, .write(60_000..<90_000), .populate(keepingBase: false), .flush]),
    FaultScenario(name: "refcount table growth", make: .full, steps: [.write(0..<98_304), .flush, .flush]),
    FaultScenario(
      name: "opening a dirty image", make: .dirty, faultsOpening: true, steps: [.write(8000..<20_000), .flush]),
    FaultScenario(
      name: "opening an image with snapshots", make: .snapshot, faultsOpening: true,
      steps: [.read, .write(8000..<20_000), .flush]),
    FaultScenario(
      name: "data file fails", make: .dataFile, place: .data,
      steps: [
        .write(10_000..<20_000), .zero(36_864..<53_248, reserving: true), .zero(36_864..<45_056, reserving: false),
        .flush,
        .populate(keepingBase: false), .flush, .complete(keepingBase: false),
      ]),
    FaultScenario(
      name: "base fails", place: .base,
      steps: [
        .read, .write(50_000..<51_000), .write(30_000..<30_001), .populate(keepingBase: true), .read,
        .populate(keepingBase: false), .flush, .complete(keepingBase: false),
      ]),
    FaultScenario(
      name: "middle fails", make: .tiny, place: .middle,
      steps: [
        .read, .write(9000..<9100), .write(20_500..<20_600), .populate(keepingBase: true), .read,
        .complete(keepingBase: true),
      ]),
  ]

  private static let makes: [FaultImages.Make] = [
    .plain, .tiny, .version2, .subclusters, .compressed, .dataFile, .snapshot,
  ]

  static let all: [FaultScenario] = common.flatMap { scenario in makes.compactMap(scenario.variant) } + special

  private func variant(on make: FaultImages.Make) -> FaultScenario? {
    var variant = self
    variant.make = make
    variant.name += " (\(make))"
    // A snapshot that needs the backing file forbids it.
    return make == .snapshot && completes ? nil : variant
  }

  private var completes: Bool {
    steps.contains { if case .complete = $0 { true } else { false } }
  }

  /// What a call may come to, by what is called.
  static let faults: [(action: StorageAction, faults: [FaultPlan.Fault])] = [
    (.read, [.init(errno: EIO), .init(errno: EIO, fallsShort: true)]),
    (
      .write,
      [EIO, ENOSPC].flatMap { [FaultPlan.Fault(errno: $0), FaultPlan.Fault(errno: $0, fallsShort: true)] }
    ),
    (.zero, [.init(errno: EIO), .init(errno: ENOSPC), .init(errno: ENOSPC, fallsShort: true)]),
    (.punch, [.init(errno: EIO), .init(errno: ENOSPC), .init(errno: EIO, fallsShort: true)]),
    (.reserve, [.init(errno: EIO), .init(errno: ENOSPC), .init(errno: ENOSPC, fallsShort: true)]),
    (.resize, [.init(errno: EIO), .init(errno: ENOSPC)]),
    (.clone, [.init(errno: EIO), .init(errno: ENOSPC)]),
    (.sync, [.init(errno: EIO), .init(errno: ENOSPC), .init(errno: EDQUOT)]),
    (.extent, [.init(errno: EIO)]),
  ]
}
