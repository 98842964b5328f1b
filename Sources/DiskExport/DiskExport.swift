// DiskExport: the mounted tree.
//
// It is where a chain, its stream job and a FUSE session meet. `MountedDisk` makes the three and ends them;
// `ExportTree` answers the kernel; each kind of file has a type of its own:
//
//     ExportTree ──┬── DiskFile     disk: reads, writes, holes; writes that wait for space (ParkedWrites) or that lie past
//                  │                the end (StrayWrites); what is dirty in the kernel's cache (DiskErrands)
//                  ├── ControlFile  control: completions, and who waits for them
//                  └── TextFiles    all others: one value a file, read whole, with poll(2)
//
// This is the one place where a typed error becomes an errno (`ErrorNumbers.swift`).
//
// Invariant: a write that the kernel was told is done is in the chain; one that cannot be told so (a write-back that
// failed) has made the disk's durability lost, and from then on no sync and no completion succeeds.
//
// Ending: the connection is served until the kernel ends it, for dirty pages arrive during the unmount; only then is
// the chain flushed and closed.
//
// Lock order: none of this module's locks is held while the chain, the job or the session is called.
