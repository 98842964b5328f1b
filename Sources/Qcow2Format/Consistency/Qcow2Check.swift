package import HostStorage
package import ImageFormat

/// Checks a qcow2 image as `qemu-img check` does: every refcount against the real use, every copied flag against its refcount,
/// and that each table is where only it is.
package enum Qcow2Check {
  /// Checks; changes nothing.
  package static func run(on header: Qcow2Header, in storage: any Storage) throws(ImageError) -> CheckReport {
    try survey(of: header, in: storage).report
  }

  /// Checks, and repairs what can be: leaks, refcounts that are too low, copied flags. Returns what was found before. Where that
  /// has an objection to the repair, nothing is written.
  package static func repair(_ header: Qcow2Header, in storage: any Storage) throws(ImageError) -> CheckReport {
    let survey = try survey(of: header, in: storage)
    let isMarked = header.isMarkedDirty || header.isMarkedCorrupt
    if survey.report.objectionToRepair == nil && (isMarked || !survey.report.isClean) {
      try RefcountRepair.adopt(survey)
    }
    return survey.report
  }

  private static func survey(of header: Qcow2Header, in storage: any Storage) throws(ImageError) -> ImageSurvey {
    var survey = try ImageSurvey(of: header, in: storage)
    try survey.lookInside()
    return survey
  }
}
