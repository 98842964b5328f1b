import ArgumentParser
import BackingChain

/// What the verbs have in common that look at an image which is not mounted.
struct ImageArguments: ParsableArguments {
  @Argument(help: ArgumentHelp("The active image of a chain.", valueName: "image"))
  var path: String
  @Flag(help: "As JSON.")
  var json = false
  @Option(name: .customShort("o"), help: ArgumentHelp("How the chain is opened, as for `mount`.", valueName: "options"))
  var options: [String] = []

  /// The chain, opened for reading; to be closed by `body`'s end.
  func withChain(_ body: ([Layer]) throws -> Void) throws {
    var options = try Configuration.defaults()
    for list in ["ro"] + self.options { try options.apply(list) }
    options.chain.isReadOnly = true
    let chain: OpenedChain
    do {
      chain = try ChainOpener.open(path: path, options: options.chain)
    } catch {
      throw CommandError(.environment, error.message)
    }
    defer { for layer in chain.layers { layer.close() } }
    for note in chain.notes { printNote(note) }
    do {
      try body(chain.layers)
    } catch let error as ChainError {
      throw CommandError(.failed, error.message)
    }
  }
}
