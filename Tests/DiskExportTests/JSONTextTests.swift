import Foundation
import Testing

@testable import DiskExport

@Suite struct JSONTextTests {
  @Test func valuesAreWrittenOnOneLine() {
    let value = JSONText.object([
      ("a", .list([.null, .bool(true), .number(-1)])), ("b", .object([])), ("c", .list([])),
    ])
    #expect(value.written == #"{"a": [null, true, -1], "b": {}, "c": []}"#)
  }

  @Test func everyCharacterSurvives() throws {
    let text = String(String.UnicodeScalarView((0..<0x300).compactMap { Unicode.Scalar($0) })) + "\u{2028}🐄"
    let written = JSONText.list([.text(text)]).written
    let read = try JSONSerialization.jsonObject(with: Data(written.utf8)) as? [String]
    #expect(read == [text])
  }

  @Test func bytesThatAreNoTextAreShown() {
    #expect(JSONText.bytes([0x61, 0xFF]).written == #""a\\xff""#)
    #expect(JSONText.bytes(Array("ä".utf8)).written == "\"ä\"")
  }
}
