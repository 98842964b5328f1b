import Testing

@testable import BackingChain

@Suite struct JSONParserTests {
  private func parse(_ text: String) throws -> JSONValue { try JSONParser.parse(Array(text.utf8)) }

  @Test func everyKindOfValueIsRead() throws {
    let value = try parse(" { \"a\" : [ 1 , true , null , -1.5e3 ] , \"b\" : { } , 'c' : [] } ")
    let numbers = ["1", "true", "null", "-1.5e3"].map { JSONValue.literal(Array($0.utf8)) }
    #expect(
      value
        == .object([
          (Array("a".utf8), .array(numbers)), (Array("b".utf8), .object([])), (Array("c".utf8), .array([])),
        ]))
  }

  @Test func escapesBecomeBytes() throws {
    #expect(try parse(#""\"\\\/\b\f\n\r\t\u0041\u20ac'""#) == .string(Array("\"\\/\u{8}\u{C}\n\r\tA\u{20ac}'".utf8)))
  }

  @Test func bytesThatAreNoTextAreKept() throws {
    #expect(try JSONParser.parse([0x22, 0xFF, 0xFE, 0x22]) == .string([0xFF, 0xFE]))
  }

  @Test(arguments: [
    "", " ", "{", "}", "[", "{]", "[}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "[1,]", "[1 2]", "\"", "\"\\",
    "'a\"",
    "\"\\u12\"", "\"\\u+123\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\x\"", "{} {}", "1 1",
    "{\"a\":1 \"b\":2}", ",",
  ])
  func brokenTextIsRefused(text: String) {
    #expect(throws: ImageName.Fault.self) { try parse(text) }
  }

  @Test func nestingIsBounded() throws {
    let depth = { (count: Int) in String(repeating: "[", count: count) + String(repeating: "]", count: count) }
    #expect(throws: Never.self) { try parse(depth(15)) }
    #expect(throws: ImageName.Fault.self) { try parse(depth(500)) }
  }

  @Test func everyPrefixOfANameIsRefusedWithoutATrap() {
    let text = Array(#"{"driver":"qcow2","file":{"driver":"file","filename":"a\u00e9\ud83d\ude00"},"x":[1,'b']}"#.utf8)
    for length in 0..<text.count {
      #expect(throws: ImageName.Fault.self) { try JSONParser.parse(Array(text.prefix(length))) }
    }
  }
}
