// BackingChain: a chain of images opened, read as one disk, its active layer written.
//
// The chain is a list of layers, top first. Reading is one loop over that list (`ChainSnapshot`): ask the active
// layer where a guest offset is, go down while it is unallocated, stop at data, at zeros, or at the end.
