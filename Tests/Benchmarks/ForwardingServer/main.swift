// forwarding-server FILE MOUNTPOINT [THREADS]
//
// Mounts a directory whose one file, `disk`, is FILE: each read and write becomes one positioned read or write.
// That is the ceiling which flatcow's own mount is measured against. `umount MOUNTPOINT` ends it.

import FUSESession
import Glibc
import HostStorage

private func fail(_ words: String, status: Int32) -> Never {
  print(words)
  exit(status)
}

let arguments = CommandLine.arguments
guard (3...4).contains(arguments.count), let threads = Int(arguments.count == 4 ? arguments[3] : "64") else {
  fail("usage: forwarding-server FILE MOUNTPOINT [THREADS]", status: 1)
}

do {
  let tree = try ForwardingTree(FileStorage.open(arguments[1], readOnly: false))
  let options = MountOptions(source: arguments[1], subtype: "forwarding-server")
  try FUSESession.mount(at: arguments[2], options: options, fileSystem: tree).run(threads: threads)
} catch {
  fail("forwarding-server: \(error)", status: 2)
}
