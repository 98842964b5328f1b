import TestSupport
import Testing

/// What the processor does for a request. One at a time: a second thread of requests makes the count another one each time.
@Suite(
  .enabled(if: CallgrindMount.obstacle == nil, "\(CallgrindMount.obstacle ?? "")"), .serialized,
  .timeLimit(.minutes(10)))
struct InstructionTests {
  /// 8 MiB in the top, and 8 MiB behind it that only its base has.
  private static let halves = """
    head -c 16M /dev/urandom >base.raw
    "$0" create top.qcow2 -b base.raw -F raw
    qemu-io -c 'write -q -P 1 0 8M' top.qcow2
    """

  /// The second 8 MiB are in 32 layers below the top, a cluster here and the next one there.
  private static let layers = """
    head -c 16M /dev/urandom >base.raw
    below=base.raw format=raw
    for layer in {1..31}; do
      "$0" create $layer.qcow2 -b $below -F $format
      at=$((8192 + 64 * layer)) below=$layer.qcow2 format=qcow2
      qemu-io -c "write -q ${at}k 64k" -c "write -q $((at + 2048))k 64k" \
        -c "write -q $((at + 4096))k 64k" -c "write -q $((at + 6144))k 64k" $below
    done
    "$0" create top.qcow2 -b $below -F $format
    """

  /// Lines of shell for `count` requests in half of the disk, no fewer.
  private func fio(_ way: String, count: Int, from offset: String) -> String {
    """
    fio --name=requests --filename=mnt/disk --ioengine=psync --direct=1 --bs=4k --rw=\(way) --offset=\(offset) \
      --size=8M --io_size=\(count * 4)k --norandommap >fio.log
    grep -Eq 'issued rwts: total=(0,)?\(count),' fio.log
    """
  }

  /// Measures a request, by the difference between two mounts: what one costs by itself is not the same each time.
  private func instructions(perRequest way: String, from offset: String, of images: String = halves) throws -> Int {
    let (few, many) = (1000, 21_000)
    let counts = try [few, many].map { count in
      let mount = try CallgrindMount(images)
      return try mount.instructions(options: "stream=off", fio(way, count: count, from: offset))
    }
    return (counts[1] - counts[0]) / (many - few)
  }

  private func expect(_ measured: Int, isAbout recorded: Int) {
    #expect(abs(measured - recorded) * 10 <= recorded, "measured \(measured), recorded are \(recorded)")
  }

  @Test func readingFourKibibytesOfTheTop() throws {
    expect(try instructions(perRequest: "randread", from: "0"), isAbout: RecordedCosts.instructionsOfReadFromTop)
  }

  @Test func readingFourKibibytesOfTheBase() throws {
    expect(try instructions(perRequest: "randread", from: "8M"), isAbout: RecordedCosts.instructionsOfReadFromBase)
  }

  @Test func readingFourKibibytesThroughManyLayers() throws {
    let measured = try instructions(perRequest: "randread", from: "8M", of: Self.layers)
    expect(measured, isAbout: RecordedCosts.instructionsOfReadThroughLayers)
  }

  @Test func writingFourKibibytesInPlace() throws {
    expect(try instructions(perRequest: "randwrite", from: "0"), isAbout: RecordedCosts.instructionsOfWriteInPlace)
  }

  /// Whether the host copies by sharing blocks, and no instruction of ours looks at the data.
  private static let sharesBlocks: Bool = {
    guard let directory = try? TemporaryDirectory(), let path = try? directory.file("blocks", [1]) else { return false }
    return (try? ExternalProgram("cp").run("--reflink=always", path, path + ".clone").succeeded) == true
  }()

  @Test(.disabled(if: sharesBlocks, "the host shares blocks, and nothing is copied through memory"))
  func copyingAMebibyteIntoTheTop() throws {
    let (few, many) = (16, 144)
    let counts = try [few, many].map { count in
      let images = """
        yes flatcow | head -c \(count)M >base.raw
        "$0" create top.qcow2 -b base.raw -F raw
        """
      return try CallgrindMount(images).instructions(options: "stream=on,backing-file=", #""$0" wait mnt"#)
    }
    expect((counts[1] - counts[0]) / (many - few), isAbout: RecordedCosts.instructionsOfPopulatedMebibyte)
  }
}
