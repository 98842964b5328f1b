import HostStorage

/// What a name found in an image's header means: a file of this host.
///
/// A plain name, `file:NAME`, and `json:{…}` are understood where the last describes a file and nothing more; all
/// else that QEMU would take for a protocol is refused by name.
struct ImageName: Equatable {
  let path: HostPath
  /// The format that a `json:` name states.
  let format: String?
  /// Whether it is a `json:` or `file:` name.
  let isWrapped: Bool

  /// Why a name cannot be followed, as a clause.
  struct Fault: Error, Equatable { let reason: String }

  init(_ recorded: [UInt8]) throws(Fault) {
    if recorded.starts(with: "json:".utf8) {
      try self.init(json: Array(recorded.dropFirst("json:".utf8.count)))
    } else if recorded.starts(with: "file:".utf8) {
      try self.init(path: HostPath(recorded.dropFirst("file:".utf8.count)), format: nil, isWrapped: true)
    } else {
      try self.init(unstated: HostPath(recorded), format: nil, isWrapped: false)
    }
  }

  private init(path: HostPath, format: String?, isWrapped: Bool) throws(Fault) {
    guard !path.bytes.isEmpty else { throw Fault(reason: "is empty") }
    guard !path.bytes.contains(0) else { throw Fault(reason: "contains a NUL byte") }
    self.path = path
    self.format = format
    self.isWrapped = isWrapped
  }

  /// A name that says by itself what it is.
  private init(unstated path: HostPath, format: String?, isWrapped: Bool) throws(Fault) {
    if path.hasProtocol {
      let name = printable(Array(path.bytes.prefix { $0 != UInt8(ascii: ":") }))
      throw Fault(reason: "uses the protocol \"\(name)\", which is not supported (a file is \"./\(path)\")")
    }
    try self.init(path: path, format: format, isWrapped: isWrapped)
  }

  private init(json text: [UInt8]) throws(Fault) {
    var options: [String: [UInt8]] = [:]
    try Self.flatten(JSONParser.parse(text), under: "", into: &options)
    let driver = options.removeValue(forKey: "driver").map(printable)
    let isFile = driver == "file"
    if let driver, !isFile, LayerFormat(rawValue: driver) == nil {
      throw Fault(reason: "uses the driver \"\(driver)\", which is not supported")
    }
    let prefix = isFile ? "" : "file."
    let fileDriver = isFile ? driver : options.removeValue(forKey: "file.driver").map(printable)
    guard fileDriver == nil || fileDriver == "file" else {
      throw Fault(reason: "uses the driver \"\(fileDriver ?? "")\", which is not supported")
    }
    let name = options.removeValue(forKey: prefix + "filename")
    if let option = options.keys.min() { throw Fault(reason: "sets \"\(option)\", which is not supported") }
    guard let name else { throw Fault(reason: "has no \"filename\"") }

    let format = isFile ? nil : driver
    if fileDriver == nil {
      try self.init(unstated: HostPath(name), format: format, isWrapped: true)
    } else {
      try self.init(path: HostPath(name), format: format, isWrapped: true)
    }
  }

  /// `{"file":{"driver":"file"}}` and `{"file.driver":"file"}` say the same.
  private static func flatten(
    _ value: JSONValue, under key: String, into options: inout [String: [UInt8]]
  ) throws(Fault) {
    switch value {
    case .object(let members):
      for member in members {
        let name = printable(member.key)
        try flatten(member.value, under: key.isEmpty ? name : "\(key).\(name)", into: &options)
      }
    case .string(let text):
      guard options.updateValue(text, forKey: key) == nil else { throw Fault(reason: "sets \"\(key)\" twice") }
    case .array, .literal:
      throw Fault(reason: "sets \"\(key)\", which is not supported")
    }
  }
}
