import Foundation

/// A disk whose data is spread evenly over a chain of qcow2 layers.
struct Layers {
  let depth: Int
  let virtualSize: Int
  /// How many clusters of 64 KiB there are altogether.
  let clusters: Int

  /// 4 GiB with 1 GiB of data.
  static func ordinary(depth: Int) -> Layers { Layers(depth: depth, virtualSize: 4 << 30, clusters: 16_384) }

  /// From one cluster of data to the next.
  var stride: Int { virtualSize / clusters }

  /// `count` of the clusters, in an order without order.
  func scattered(_ count: Int) -> [Int] {
    (0..<count).map { $0 * 10_007 % clusters * stride }
  }

  /// The chain, and the same in one layer, `flat.qcow2`, where that is wanted.
  func fixture(withFlat: Bool = false) -> Fixture {
    Fixture(name: "layers-\(depth)-\(virtualSize >> 30)") { disk in
      var below: String?
      for layer in 0..<depth {
        let name = layer == depth - 1 ? disk.top : "layer-\(layer).qcow2"
        let backing = below.map { ["-b", $0, "-F", "qcow2"] } ?? []
        try Program.run(
          ["env", "-C", disk.directory.path, "qemu-img", "create", "-q", "-u", "-f", "qcow2"] + backing
            + [name, "\(virtualSize)"])
        try fill(disk.path(name), layer: layer)
        below = name
      }
      if withFlat {
        try Program.run("qemu-img", "convert", "-O", "qcow2", disk.path(disk.top), disk.path("flat.qcow2"))
      }
    }
  }

  private func fill(_ path: String, layer: Int) throws {
    let image = #"json:{"driver":"qcow2","file":{"driver":"file","filename":"\#(path)"},"backing":null}"#
    // Neighbours lie in different layers.
    let own = (0..<clusters).filter { $0 * 5 % depth == layer }
    let commands = own.flatMap { ["-c", "write -q -P \(1 + $0 % 255) \($0 * stride) 64k"] }
    for part in Swift.stride(from: 0, to: commands.count, by: 8000) {
      try Program.run(["qemu-io", "-t", "unsafe", image] + commands[part..<min(part + 8000, commands.count)])
    }
  }
}
