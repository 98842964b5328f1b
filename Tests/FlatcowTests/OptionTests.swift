import BackingChain
import HostStorage
import StreamJob
import Testing

@testable import flatcow

@Suite struct OptionWordTests {
  @Test(arguments: [
    ("", []),
    ("ro", [OptionWord(name: "ro")]),
    ("ro,base=a.raw", [OptionWord(name: "ro"), OptionWord(name: "base", value: "a.raw")]),
    (",,ro,", [OptionWord(name: "ro")]),
    (#"base=../b\,c"#, [OptionWord(name: "base", value: "../b,c")]),
    (#"base="b,c",ro"#, [OptionWord(name: "base", value: "b,c"), OptionWord(name: "ro")]),
    (#"base='b"c'"#, [OptionWord(name: "base", value: #"b"c"#)]),
    (#"base=b\\c"#, [OptionWord(name: "base", value: #"b\c"#)]),
    (#"base=\"b"#, [OptionWord(name: "base", value: "\"b")]),
    ("base=a=b", [OptionWord(name: "base", value: "a=b")]),
    ("backing-file=", [OptionWord(name: "backing-file", value: "")]),
    (#"backing-file="""#, [OptionWord(name: "backing-file", value: "")]),
  ])
  func commasSeparateUnlessTheyAreProtected(list: String, words: [OptionWord]) throws {
    #expect(try OptionWord.words(in: list) == words)
  }

  @Test(arguments: [#"base="b"#, "base='b", #"base=b\"#])
  func anOpenEndIsAUsageError(list: String) {
    #expect(throws: CommandError.self) { try OptionWord.words(in: list) }
  }
}

@Suite struct SizeTextTests {
  @Test(arguments: [
    ("0", 0), ("512", 512), ("1K", 1024), ("50M", 50 << 20), ("2g", 2 << 30), ("1T", 1 << 40),
    ("9223372036854775807", Int.max),
  ])
  func suffixesArePowersOf1024(text: String, bytes: Int) {
    #expect(SizeText.parse(text) == ByteCount(bytes))
  }

  @Test(arguments: ["", "K", "-1", "+1", "1.5G", "1KB", "1 K", "9223372036854775808", "8388608T", "٣"])
  func anythingElseIsNoSize(text: String) {
    #expect(SizeText.parse(text) == nil)
  }

  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (10 << 20, "10 MiB"), (1 << 40, "1.0 TiB"),
    (Int.max, "8.0 EiB"),
  ])
  func sizesArePrintedForPeople(bytes: Int, text: String) {
    #expect(SizeText.print(ByteCount(bytes)) == text)
  }
}

@Suite struct MountOptionTests {
  private func options(_ list: String) throws(CommandError) -> MountOptions {
    var options = MountOptions()
    try options.apply(list)
    return options
  }

  @Test func theDefaultsAreThoseOfTheContract() {
    let options = MountOptions()
    #expect(!options.chain.isReadOnly && options.job.start == .on && options.job.onError == .enospc)
    #expect(options.job.minimumFree == .percent(5) && options.cache == .writeback && options.chain.discardsToHost)
    #expect(options.noSpaceTimeout == .seconds(60) && options.chain.locks && !options.chain.allowsDataFile)
    #expect(options.chain.maxDepth == 256 && options.job.backingFile == nil)
  }

  @Test func everyOptionOfTheContractIsTaken() throws {
    let options = try options(
      """
      ro,stream=paused,base=mid.qcow2,backing-file=base.raw,speed=50M,on-error=stop,min-free=1G,cache=none,\
      discard=ignore,threads=4,no-space-timeout=5,lock=off,format=qcow2,backing-format=qcow2:raw,backing-root=/a,\
      backing-root=/b,trust-chain,no-backing,data-file=allow,allow-block,max-depth=9,bitmaps=drop,uid=1,gid=2,\
      mode=0640,allow_other,fsname=disk,context="system_u:object_r:svirt_image_t:s0:c1,c2"
      """)
    #expect(
      options.chain.isReadOnly && !options.chain.locks && options.chain.trustsChain && options.chain.ignoresBacking)
    #expect(options.job.start == .paused && options.job.onError == .stop && options.job.speed == ByteCount(50 << 20))
    #expect(options.job.base == Array("mid.qcow2".utf8) && options.job.backingFile == Array("base.raw".utf8))
    #expect(options.job.minimumFree == .bytes(ByteCount(1 << 30)))
    #expect(options.cache == .none && !options.chain.discardsToHost && options.threads == 4)
    #expect(options.noSpaceTimeout == .seconds(5) && options.chain.format == "qcow2")
    #expect(options.chain.backingFormats == ["qcow2", "raw"] && options.chain.backingRoots == ["/a", "/b"])
    #expect(options.chain.allowsDataFile && options.chain.allowsBlockDevices)
    #expect(options.chain.maxDepth == 9 && options.chain.dropsBitmaps)
    #expect(options.owner == 1 && options.group == 2 && options.mode == 0o640 && options.allowsOthers)
    #expect(options.sourceName == "disk" && options.securityContext == "system_u:object_r:svirt_image_t:s0:c1,c2")
  }

  @Test func whatMountPassesOnIsIgnored() throws {
    let list = "rw,nofail,_netdev,_rnetdev,user=joe,users,owner,group,noexec,nosuid,nodev,dev,suid,noatime,relatime,"
    #expect(throws: Never.self) { try options(list + "sync,pri=1,auto,noauto") }
  }

  @Test func theLastWordWins() throws {
    #expect(try options("ro,rw").chain.isReadOnly == false)
    #expect(try options("speed=1,speed=2").job.speed == 2)
    #expect(try options("trust-chain,trust-chain=off").chain.trustsChain == false)
  }

  @Test func noBackingImpliesReadOnly() throws {
    #expect(try options("no-backing").chain.isReadOnly)
  }

  @Test func anEmptyBackingFileIsTheEmptyLine() throws {
    #expect(try options("backing-file=").job.backingFile == [])
  }

  @Test(arguments: [
    "offset=1", "stream=maybe", "stream", "base=", "speed=fast", "min-free=101%", "threads=0", "max-depth=x", "mode=9",
    "mode=1777", "bitmaps=keep", "data-file=perhaps", "uid=-1", "no-space-timeout=-1", "ro=maybe", "lock=off",
  ])
  func aWrongOptionIsNamedInOneSentence(list: String) throws {
    let error = try #require(throws: CommandError.self) { try options(list) }
    let name = String(list.prefix { $0 != "=" })
    #expect(error.outcome == .usage && error.sentence.contains(name) && !error.sentence.contains("\n"))
  }
}

@Suite struct ConfigurationTests {
  @Test func linesSetDefaults() throws {
    let text = """
      # for all mounts of this host
      speed = 20M   # not too fast

      backing-root="/srv/images # old"
      base=a#b
      trust-chain
      """
    let options = try Configuration.options(in: text, path: "conf")
    #expect(
      options.job.speed == ByteCount(20 << 20) && options.chain.trustsChain && options.job.base == Array("a#b".utf8))
  }

  @Test func aWrongLineIsNamed() throws {
    let error = try #require(throws: CommandError.self) { try Configuration.options(in: "ro\nspeed=x\n", path: "conf") }
    #expect(error.outcome == .usage && error.sentence.hasPrefix("conf:2: speed=x"))
  }
}
