// flatcow: the command.
//
// Arguments, logging, the start of the daemon, signals; nothing else. Verbs that act on a mounted tree do it through
// the files of the tree, so that they need nothing from the process behind it but what any shell has.
import ArgumentParser

@main struct Flatcow: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mounts a disk-image chain as one flat raw file and streams its backing layers into the active one.")
}
