import Testing

@testable import flatcow

/// How a command line is understood before any verb runs.
@Suite struct GrammarTests {
  @Test(arguments: [
    (["mount", "a", "b"], ["mount", "a", "b"]),
    (["a.qcow2", "/mnt", "-o", "ro"], ["mount", "a.qcow2", "/mnt", "-o", "ro"]),
    (["-o", "ro", "a.qcow2", "/mnt"], ["mount", "-o", "ro", "a.qcow2", "/mnt"]),
    (["-r", "a.qcow2", "/mnt"], ["mount", "-r", "a.qcow2", "/mnt"]),
    (["--help"], ["--help"]),
    (["help", "mount"], ["help", "mount"]),
    (["--generate-completion-script", "bash"], ["--generate-completion-script", "bash"]),
    (["a.qcow2"], ["a.qcow2"]),
    ([], []),
  ])
  func anImageAndADirectoryMountWithoutAVerb(given: [String], understood: [String]) {
    #expect(Flatcow.withVerb(given) == understood)
  }

  @Test func mountCallsItsHelperInItsOwnWay() throws {
    let call = try MountCall(
      ["/a.qcow2", "/mnt", "-sf", "-n", "-o", #"rw,base=b\,c"#, "-t", "flatcow"], flags: ["s", "f", "n", "v"])
    #expect(call.names == ["/a.qcow2", "/mnt"] && call.options == [#"rw,base=b\,c"#])
    #expect(call.flags == ["s", "f", "n"])
  }

  @Test(arguments: [["-x"], ["-sx"], ["-o"], ["--lazy"]])
  func whatMountNeverSaysIsAUsageError(arguments: [String]) throws {
    let error = try #require(throws: CommandError.self) { try MountCall(arguments, flags: ["s", "f"]) }
    #expect(error.outcome == .usage)
  }
}
