import Testing

@testable import BackingChain

@Suite struct ImageNameTests {
  @Test(arguments: [
    ("base", "base", nil), ("/images/base", "/images/base", nil), ("./nbd:x", "./nbd:x", nil),
    ("file:base", "base", nil), ("file:///images/base", "///images/base", nil), ("file:nbd:x", "nbd:x", nil),
    (#"json:{"driver":"qcow2","file":{"driver":"file","filename":"base"}}"#, "base", "qcow2"),
    (#"json:{"driver":"file","filename":"nbd:x"}"#, "nbd:x", nil),
    (#"json:{"driver":"raw","file.driver":"file","file.filename":"base"}"#, "base", "raw"),
    (#"json:{"file":{"driver":"file","filename":"base"}}"#, "base", nil),
    (#"json:{"driver":"raw","file":{"filename":"base"}}"#, "base", "raw"),
    (#"json: { 'driver' : 'raw' , 'file' : { 'driver' : 'file' , 'filename' : 'b"se' } } "#, #"b"se"#, "raw"),
    (#"json:{"driver":"file","filename":"\u00e9\ud83d\ude00\/\n"}"#, "\u{e9}\u{1F600}/\n", nil),
  ])
  func aFileIsUnderstood(name: String, path: String, format: String?) throws {
    let name = try ImageName(Array(name.utf8))
    #expect(name.path == HostPath(path))
    #expect(name.format == format)
  }

  @Test(arguments: [
    ("nbd://host/x", "protocol \"nbd\""), ("fat:dir", "protocol \"fat\""), ("", "empty"), ("file:", "empty"),
    ("a\0b", "NUL"), ("json:", "JSON"), ("json:[]", "not supported"), ("json:\"base\"", "not supported"),
    (#"json:{"driver":"nbd","host":"h"}"#, "driver \"nbd\""), (#"json:{"driver":"vmdk"}"#, "driver \"vmdk\""),
    (#"json:{"driver":"raw","file":{"driver":"blkdebug","filename":"x"}}"#, "driver \"blkdebug\""),
    (#"json:{"driver":"raw","file":{"filename":"nbd:x"}}"#, "protocol \"nbd\""),
    (#"json:{"driver":"raw","offset":"4096","file":{"driver":"file","filename":"x"}}"#, "\"offset\""),
    (#"json:{"driver":"raw","offset":4096,"file":{"driver":"file","filename":"x"}}"#, "\"offset\""),
    (#"json:{"driver":"file","filename":"x","backing":{"driver":"raw"}}"#, "\"backing.driver\""),
    (#"json:{"driver":"file"}"#, "filename"), (#"json:{"driver":"file","filename":""}"#, "empty"),
    (#"json:{"driver":"file","driver":"raw","filename":"x"}"#, "twice"),
    (#"json:{"driver":"raw","file":{"driver":"file"},"file.filename":"x","file.driver":"file"}"#, "twice"),
    (#"json:{"driver":"file","filename":"a\u0000b"}"#, "NUL"), (#"json:{"driver":true}"#, "\"driver\""),
    (#"json:{"driver":"file","filename":["x"]}"#, "\"filename\""),
  ])
  func anythingElseIsRefusedByName(name: String, reason: String) {
    #expect { try ImageName(Array(name.utf8)) } throws: { ($0 as? ImageName.Fault)?.reason.contains(reason) == true }
  }
}
