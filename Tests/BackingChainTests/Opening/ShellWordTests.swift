import TestSupport
import Testing

@testable import BackingChain

@Suite struct ShellWordTests {
  @Test(arguments: ["base.img", "/a b/c", "it's", "", "$HOME `x`", "a\nb\u{7}", "é", "\\", "a'\n\\b", "-x", "*"])
  func aShellReadsTheWordBack(word: String) throws {
    let run = try ExternalProgram("bash").run("-c", "printf %s \(shellWord(Array(word.utf8)))")
    #expect(run.output == word)
  }

  @Test func plainWordsAreNotQuoted() {
    #expect(shellWord(Array("/images/base-1.2_x.qcow2".utf8)) == "/images/base-1.2_x.qcow2")
  }

  @Test func bytesThatAreNoTextAreWrittenInHex() { #expect(shellWord([0x61, 0xFF]) == #"$'a\xff'"#) }

  @Test func aCommaInAnOptionsValueIsEscaped() {
    #expect(optionValue(Array(#"/a,b\c"#.utf8)) == Array(#"/a\,b\\c"#.utf8))
  }
}
