import ArgumentParser
import BackingChain
import HostStorage
import ImageFormat
import Qcow2Format

struct Create: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes a new qcow2 image, empty or over a backing image.",
    discussion: "A relative backing file is looked up from the new image's directory, as it will be later.")
  @Argument(help: ArgumentHelp("The file to make; it must not exist.", valueName: "image"))
  var path: String
  @Argument(help: "The disk's size, with an optional K, M, G or T; without it, that of the backing image.")
  var size: String?
  @Option(name: .customShort("b"), help: ArgumentHelp("The backing image.", valueName: "backing"))
  var backing: String?
  @Option(name: .customShort("F"), help: ArgumentHelp("Its format, raw or qcow2.", valueName: "format"))
  var backingFormat: String?
  @Option(
    name: .customShort("o"),
    help: ArgumentHelp(
      "cluster_size=SIZE, compat=0.10 or 1.1, extended_l2=on or off, refcount_bits=NUMBER, separated by commas.",
      valueName: "options"))
  var options: [String] = []

  func validate() throws {
    if (backing == nil) != (backingFormat == nil) {
      throw ValidationError("-b and -F belong together: a backing image's format is never guessed")
    }
    if backing == nil && size == nil { throw ValidationError("a size is needed where there is no backing image") }
  }

  func run() throws {
    var image = Qcow2Creation(virtualSize: try virtualSize())
    if let backing { image.backing = RecordedBacking(name: Array(backing.utf8), format: backingFormat) }
    for list in options {
      for word in try OptionWord.words(in: list) { try image.apply(word) }
    }
    let storage: FileStorage
    do {
      storage = try FileStorage.create(path)
    } catch {
      throw CommandError(error)
    }
    defer { storage.close() }
    do {
      try image.write(to: storage)
    } catch {
      TextFile.remove(path)
      throw CommandError(.usage, error.description)
    }
  }

  /// The size that was given, or that of the backing image, which is opened as it would be later.
  private func virtualSize() throws(CommandError) -> ByteCount {
    var found: ByteCount?
    if let backing {
      var options = ChainOptions()
      options.isReadOnly = true
      // Only the sizes are looked at: whoever has it open for writing is no obstacle.
      options.locks = false
      options.format = backingFormat
      options.trustsChain = true
      let directory = HostPath(absolute(path)).directory
      do {
        let name = directory.appending(HostPath(backing))
        let chain = try ChainOpener.open(path: String(decoding: name.bytes, as: UTF8.self), options: options)
        found = chain.layers[0].virtualSize
        for layer in chain.layers { layer.close() }
      } catch {
        throw CommandError(.environment, error.message)
      }
    }
    guard let size else { return found ?? 0 }
    guard let given = SizeText.parse(size) else {
      throw CommandError(.usage, "\(size): a size is a whole number with an optional K, M, G or T, as in 20G")
    }
    return given
  }
}

extension Qcow2Creation {
  /// One option of `-o`, by the name that qemu-img gives it.
  fileprivate mutating func apply(_ word: OptionWord) throws(CommandError) {
    let value = word.value ?? ""
    switch (word.name, value) {
    case ("cluster_size", _):
      guard let size = SizeText.parse(value) else { throw unfit(word) }
      clusterSize = size
    case ("compat", "0.10"), ("compat", "v2"): version = 2
    case ("compat", "1.1"), ("compat", "v3"): version = 3
    case ("extended_l2", "on"), ("extended_l2", "off"): hasExtendedL2 = value == "on"
    case ("refcount_bits", _):
      guard let bits = Int(value) else { throw unfit(word) }
      refcountBits = bits
    default: throw unfit(word)
    }
  }

  private func unfit(_ word: OptionWord) -> CommandError {
    let given = word.value.map { "=\($0)" } ?? ""
    return CommandError(
      .usage,
      """
      -o \(word.name)\(given): expected cluster_size=SIZE, compat=0.10 or 1.1, extended_l2=on or off, or \
      refcount_bits=NUMBER
      """)
  }
}
