import ArgumentParser
import BackingChain
import DiskExport
import HostStorage
import ImageFormat

struct Chain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the layers of a chain, top first: index, format, virtual size, path.")
  @OptionGroup var image: ImageArguments

  func run() throws {
    try image.withChain { layers in
      if image.json { return print(try JSONText.list(layers.map(describe)).written) }
      for (index, layer) in layers.enumerated() {
        print("\(index) \(layer.image.format) \(layer.virtualSize.bytes) \(layer.path)")
      }
    }
  }

  /// The members have the names that `qemu-img info` gives them.
  private func describe(_ layer: Layer) throws(ChainError) -> JSONText {
    var members: [(name: String, value: JSONText)] = [
      ("filename", .text(layer.path)), ("format", .text(layer.image.format)),
      ("virtual-size", .number(layer.virtualSize.bytes)), ("actual-size", .number(layer.opened.allocated.bytes)),
    ]
    if layer.image.clusterSize > 1 { members.append(("cluster-size", .number(layer.image.clusterSize.bytes))) }
    if let backing = layer.image.backing {
      members.append(("backing-filename", .bytes(backing.name)))
      if let format = backing.format { members.append(("backing-filename-format", .text(format))) }
    }
    return .object(members)
  }
}

struct Map: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows which layer and which place in it each part of the disk comes from.")
  @OptionGroup var image: ImageArguments

  func run() throws {
    try image.withChain { layers in
      if image.json {
        var runs: [JSONText] = []
        try ChainMap(layers: layers).forEachRun { runs.append($0.json) }
        return print(JSONText.list(runs).written)
      }
      print("START LENGTH OFFSET LAYER")
      try ChainMap(layers: layers).forEachRun { run in
        guard run.isData else { return }
        let offset = run.isLost ? "lost" : run.offset.map { String($0.bytes) } ?? "compressed"
        print("\(run.range.start.bytes) \(run.range.count.bytes) \(offset) \(layers[run.depth].path)")
      }
    }
  }
}

extension MappedRun {
  /// As `qemu-img map --output=json` says it, and with one member more where it is lost.
  fileprivate var json: JSONText {
    var members: [(name: String, value: JSONText)] = [
      ("start", .number(range.start.bytes)), ("length", .number(range.count.bytes)), ("depth", .number(depth)),
      ("present", .bool(isPresent)), ("zero", .bool(isZero)), ("data", .bool(isData)),
      ("compressed", .bool(isCompressed)),
    ]
    if let offset { members.append(("offset", .number(offset.bytes))) }
    if isLost { members.append(("lost", .bool(true))) }
    return .object(members)
  }
}
