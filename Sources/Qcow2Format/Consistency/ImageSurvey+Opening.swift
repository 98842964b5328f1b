import HostStorage
import ImageFormat

// What an image has to show before it is written.
extension ImageSurvey {
  /// So many bytes of L2 tables are looked into when an image is opened: that takes some hundredths of a second, and they are those
  /// of 128 GiB of data in clusters of 64 KiB. Where there are more, the first write waits for the look, and a reader for nothing.
  static let tablesAtOpening = ByteCount(16 << 20)

  /// Looks at an image that is opened for writing, and repairs one that was left dirty; `header` is the image's from then on. An
  /// image that it refuses has not been changed.
  static func opening(_ header: inout Qcow2Header, in storage: any Storage, dataFileSize: ByteCount?)
    throws(ImageError) -> ImageSurvey
  {
    if header.isMarkedDirty {
      var survey = try ImageSurvey(of: header, in: storage, dataFileSize: dataFileSize)
      try survey.lookInside()
      if let objection = survey.report.objectionToRepair {
        throw ImageError(
          .corrupt, path: storage.path,
          reason: "it was not closed cleanly, and cannot be repaired without loss: \(objection)")
      }
      try RefcountRepair.adopt(survey)
      header = try Qcow2Header.read(from: storage)
    }
    var survey = try ImageSurvey(of: header, in: storage, dataFileSize: dataFileSize)
    let isSmall = survey.l2TableSize <= tablesAtOpening
    if try isSmall ? true : survey.hasCountsBeyondTheEnd() { try survey.lookInside(skippingUnreadable: true) }
    if let objection = survey.report.objectionToWriting {
      throw ImageError(.corrupt, path: storage.path, reason: objection)
    }
    return survey
  }

  /// Whether some cluster past the file's end has a refcount: left by a crash, or of data that the file has lost.
  private func hasCountsBeyondTheEnd() throws(ImageError) -> Bool {
    let perBlock = header.refcountsPerBlock
    for (number, home) in blocks.sorted(by: { $0.key > $1.key }) {
      let clusters = (number * perBlock..<(number + 1) * perBlock).clamped(to: fileClusters..<Int.max)
      if clusters.isEmpty { return false }
      let block = try block(at: home)
      if clusters.contains(where: { block[$0 % perBlock] != 0 }) { return true }
    }
    return false
  }
}
