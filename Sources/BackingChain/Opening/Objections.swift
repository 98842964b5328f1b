import HostStorage

/// Everything that stands in the way of the next step, gathered so that a person is told once, with the way out of
/// all of it.
struct Objections {
  /// The image that they are about.
  let path: HostPath
  private var code: ChainError.Code?
  private var reasons: [String] = []
  private var commands: [String] = []
  private var mountOptions: [[UInt8]] = []

  init(to path: HostPath) { self.path = path }

  /// `command` is one to run first; `mountOption` lifts the objection by itself.
  mutating func add(
    _ code: ChainError.Code, _ reason: String, command: String? = nil, mountOption: HostPath? = nil
  ) {
    self.code = self.code ?? code
    reasons.append(reason)
    if let command { commands.append(command) }
    if let option = mountOption?.bytes, !mountOptions.contains(option) { mountOptions.append(option) }
  }

  func check() throws(ChainError) {
    guard let code else { return }
    var steps = commands.map { "run `\($0)`" }
    if !mountOptions.isEmpty {
      steps.append("mount with `-o \(shellWord(Array(mountOptions.joined(separator: [UInt8(ascii: ",")]))))`")
    }
    let wayOut = steps.isEmpty ? "" : "; to go on, " + steps.joined(separator: ", then ")
    throw ChainError(code, path: path.description, message: "\(path): " + reasons.joined(separator: "; ") + wayOut)
  }
}
