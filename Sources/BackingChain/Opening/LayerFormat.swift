/// The formats that a layer can have, by the names that QEMU gives them.
enum LayerFormat: String, CaseIterable {
  case raw
  case qcow2

  /// "raw or qcow2", for a person.
  static var choice: String { allCases.map(\.rawValue).joined(separator: " or ") }
}
