// RawFormat: an image that is its own disk, and the example to copy for a new format.
//
// Guest offset and host offset are the same number. There is nothing to look up, to allocate or to record: every
// byte is data in place, and where the file has holes the storage's extents say so. A raw image has no header, so
// it can be a base or an active layer without a backing image, but no backing file can be recorded in it.
//
// Invariant: the file keeps the size that it had when it was opened; nothing here grows or cuts it. No locks.
