import Foundation

extension Fixture {
  /// An empty overlay over a sparse raw file of 64 GiB: 64 KiB of data in every 4 MiB, 1 GiB altogether.
  static let islands = Fixture(
    name: "islands",
    make: { disk in
      try overlay("islands", of: "truncate -s 64G disk.raw").make(disk)
      let file = try FileHandle(forWritingTo: URL(filePath: disk.path(disk.raw)))
      let island = Data((0..<65_536).map { _ in UInt8.random(in: 1...255) })
      for start in stride(from: 0, to: 64 << 30, by: 4 << 20) {
        try file.seek(toOffset: UInt64(start))
        try file.write(contentsOf: island)
      }
      try file.close()
    }, isRawShared: true)

  /// An empty overlay over 1 GiB of words, which compress to about a half.
  static func compressed(_ method: String) -> Fixture {
    Fixture(name: method) { disk in
      let words = try FileHandle(forWritingTo: makeFile(disk.path("words")))
      let text = makeWords(count: 32 << 20)
      for _ in 0..<32 { try words.write(contentsOf: text) }
      try words.close()
      try Program.shell(
        """
        cd "$1"
        qemu-img convert -c -f raw -O qcow2 -o compression_type=$2 words base.qcow2
        rm words
        qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
        """, disk.directory.path, method)
    }
  }

  private static func makeFile(_ path: String) throws -> URL {
    let url = URL(filePath: path)
    try Data().write(to: url)
    return url
  }

  /// Words of a vocabulary, the first of them most often.
  private static func makeWords(count: Int) -> Data {
    let letters = Array("abcdefghijklmnopqrstuvwxyz".utf8)
    let vocabulary = (0..<4096).map { _ in
      (0..<Int.random(in: 2...11)).map { _ in letters[Int.random(in: 0..<26)] } + [UInt8(ascii: " ")]
    }
    var text = Data(capacity: count + 16)
    while text.count < count {
      text.append(contentsOf: vocabulary[Int.random(in: 0...Int.random(in: 0..<4096))])
    }
    return text.prefix(count)
  }
}
