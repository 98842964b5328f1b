// ImageFormat: the contract that every format keeps.
//
// A format answers questions; it does not move guest data. `Image.mapping(at:limit:)` says where a guest range
// is and for how long a run; reads, holes, streaming, `map` and `check` all ask this one question. A format that
// can be an active layer also answers `WritableImage`: it prepares host clusters for a write, the caller moves
// the bytes, and the format publishes the mapping.
//
// Invariant: between `prepare` and `publish` nothing that a reader can see has changed; after `publish` the new
// mapping is seen by every look-up; after `flush` it is durable, and never before the bytes that it points to.
