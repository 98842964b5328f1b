import BackingChain
import Testing

@Suite struct HostPathTests {
  @Test(arguments: [
    ("/images/base", "/images", "base"), ("/images/sub/base", "/images", "sub/base"),
    ("/base", "/images", "../base"), ("/other/base", "/images/vm", "../../other/base"), ("/base", "/", "base"),
    ("/images2/base", "/images", "../images2/base"), ("/images/a:b", "/images", "./a:b"),
    ("/images/sub/a:b", "/images", "sub/a:b"), ("/images/json:{}", "/images", "./json:{}"), ("/images", "/images", "."),
  ])
  func theWayFromADirectory(path: String, directory: String, expected: String) {
    #expect(HostPath(path).relative(to: HostPath(directory)) == HostPath(expected))
  }

  @Test(arguments: [
    ("/images/base", "/images"), ("base", "."), ("./base", "."), ("sub/base", "sub"), ("/base", "/"), ("/", "/"),
    ("//images//base", "/images"), ("../base", ".."), ("sub/base/", "sub"),
  ])
  func theDirectoryOfAName(path: String, expected: String) {
    #expect(HostPath(path).directory == HostPath(expected))
  }

  @Test(arguments: [
    ("/a/./b/../c", "/a/c"), ("/../a", "/a"), ("a/../../b", "../b"), (".", "."), ("a/..", "."), ("/a/../..", "/"),
  ])
  func dotsWorkedOut(path: String, expected: String) {
    #expect(HostPath(path).simplified == HostPath(expected))
  }

  @Test(arguments: [
    ("/images", "/images", true), ("/images/base", "/images", true), ("/images2", "/images", false),
    ("/", "/images", false), ("/images", "/", true),
  ])
  func insideADirectory(path: String, directory: String, expected: Bool) {
    #expect(HostPath(path).isInside(HostPath(directory)) == expected)
  }

  @Test(arguments: [
    ("nbd://host", true), ("a b:c", true), (":", true), ("base:1.img", true), ("./base:1.img", false), ("/a:b", false),
    ("base", false), ("", false),
  ])
  func protocolsInQEMUsSense(path: String, expected: Bool) {
    #expect(HostPath(path).hasProtocol == expected)
  }
}
