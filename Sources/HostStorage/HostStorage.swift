// HostStorage: where bytes live.
//
// Everything that flatcow keeps lies behind one contract, `Storage`: positioned reads and writes, sync,
// zeroing, punching, reserving, extents, identity, QEMU's image locks. `FileStorage` is the local file. The
// tests have a second one in memory that records every operation and fails on request; every crash proof runs
// on that one, so nothing above this module may reach a file by any other way.
//
// Invariant: what `sync` returned for is durable; what was written since the last sync may be lost in any
// combination of 512-byte sectors. A sync that failed once fails for ever after.
//
// The module also holds what else the program needs of the host and Swift lacks: for the engine a lock for short
// stretches (`Lock`), one that can be waited on (`Monitor`), a thread that may block (`HostThread`) and its word that
// it will (`BlockingCall`), for the command signals, processes, mounts
// and the system's log. It is the only module, beside ImageFormat's byte loads and FUSESession, with unsafe code in
// it.
//
// Lock order: none. No method of this module calls back into its caller while it holds a lock, except
// `Monitor.withLock`, whose body is the caller's, and `BlockingCall`, whose handler takes innermost locks only.
