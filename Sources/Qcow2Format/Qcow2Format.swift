// Qcow2Format: QEMU's copy-on-write image, versions 2 and 3 (specification: QEMU's docs/interop/qcow2.txt).
//
//   header ── L1 table ── L2 tables ── data clusters, compressed clusters
//     └────── refcount table ── refcount blocks: how often each host cluster is used
//
// `Qcow2Image` reads any image: it knows the header and the mapping, and no allocator exists for it.
// `Qcow2ActiveImage` writes one: it adds the refcounts, the quarantine and the flush.
//
// Invariants:
// 1. On the host, a referenced cluster has a refcount of at least 1, and none is used for two things, at every moment;
//    a crash leaks clusters at worst.
// 2. A mapping that is on the host points to bytes that are on the host. `FlushOrder` owns the sequence; nothing else
//    writes a table.
// 3. A host cluster that a mapping dropped is neither used again nor punched before the drop is durable and every
//    request that may have looked it up has ended (`Quarantine`).
// 4. Sector 0 is written by `HeaderSector` alone, whole, and one sector at a time.
//
// Lock order: flush, then refcounts, then tables. A look-up takes only the last, and no lock while it reads the host.
