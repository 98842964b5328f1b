package import BackingChain
package import HostStorage
package import ImageFormat

/// What a job needs of a chain: a *top* that is populated, and a *base* where that stops (`nil`: nothing is kept, the
/// whole chain is flattened). A base is always a layer below the top.
///
/// The methods may block for as long as a layer's host does, are called with no lock held, and by several threads at once.
package protocol StreamTarget: AnyObject, Sendable {
  /// The top's size; it does not change.
  var virtualSize: ByteCount { get }
  /// Whether the top can be written at all.
  var isWritable: Bool { get }
  /// Whether any layer lies between the top and `base`.
  func hasLayers(above base: Layer?) -> Bool

  /// The layer below the top that `name` means: as recorded in a header, as a path relative to a layer's directory, or
  /// as the file itself. Throws `.notInChain`.
  func layer(named name: [UInt8]) throws(ChainError) -> Layer

  /// The first range from `offset` on that has to be populated before `base` may be the top's backing image: unallocated in the
  /// top, and held by a layer above the base, or read as zeros where the base alone would show data.
  /// It may be as long as the rest of the disk. nil: there is none.
  func nextUnpopulated(from offset: GuestOffset, above base: Layer?) throws(ChainError) -> GuestRange?
  /// Populates all of `range` (its clusters, reaching outward) that still has to be, each part looked at again under its lock: what
  /// the guest wrote stays. Returns the bytes copied; zeros cost none. After an error some of it may be populated.
  func populate(_ range: GuestRange, above base: Layer?) throws(ChainError) -> ByteCount
  /// How many bytes `populate` would copy for the whole disk, by a look at the metadata.
  func remaining(above base: Layer?) throws(ChainError) -> ByteCount
  /// Free space for the top's file, and its file system's size.
  func space() throws(ChainError) -> (free: ByteCount, total: ByteCount)

  /// Whether the top can be completed at all, over whatever base: throws `.readOnly`, `.snapshotsNeedBacking`.
  func checkCompletable() throws(ChainError)
  /// Works out what the line `name` has recorded, with `base` set or (nil) not:
  /// * empty: no backing image without a base, else the name by which the base is recorded in the layer above it, made
  ///   right for the top's directory; `.ambiguous` where there is none;
  /// * with a base: the name, verbatim;
  /// * without one: the layer that it names becomes the base, and what is recorded leads to it; `.notInChain`.
  ///
  /// Throws what is known beforehand, too: `.nameTooLong`, `.noSpace`, `.invalidName` and `checkCompletable`'s.
  func plan(_ name: [UInt8], keeping base: Layer?) throws(ChainError) -> CompletionPlan
  /// Makes everything populated and written so far durable, and looks whether a layer's file was changed on the host
  /// (`.changed`). May take long, and is called before `complete` so that this does not.
  func prepareCompletion(_ plan: CompletionPlan) throws(ChainError)
  /// Makes all durable, writes the header unless it is as planned already, and lets the layers above the base go. On an
  /// error the chain is as it was, unless the code is `.outcomeUnknown`.
  func complete(_ plan: CompletionPlan) throws(ChainError)
}

/// What a completion records, and the layer that it keeps.
package struct CompletionPlan: Sendable {
  /// nil: none.
  package let base: Layer?
  /// nil exactly when `base` is.
  package let backing: RecordedBacking?
  /// Whether the name has to lead to the base's file when it is recorded; one given with a base set need not.
  package let mustLead: Bool

  package init(base: Layer?, backing: RecordedBacking?, mustLead: Bool = false) {
    self.base = base
    self.backing = backing
    self.mustLead = mustLead
  }
}
