/// How often each host cluster of an image is used, and what by, as a survey counts it.
///
/// Two bytes for a cluster, in rows that are made when one of their clusters is first used: a sparse file costs nothing.
struct ClusterUses {
  /// What is known of a cluster besides the number of its uses.
  struct Marks: OptionSet {
    let rawValue: UInt16
    /// A table is in it, or another part of the image's metadata.
    static let metadata = Marks(rawValue: 1 << 12)
    /// An entry of the active mapping leads here that has the copied flag, and one that lacks it.
    static let copied = Marks(rawValue: 1 << 13)
    static let notCopied = Marks(rawValue: 1 << 14)
    /// It holds an L2 table that has been looked into.
    static let visited = Marks(rawValue: 1 << 15)
  }

  /// What a cell says of a cluster.
  struct Cell {
    var count: Int
    var marks: Marks
  }

  static let rowLength = 256
  /// What a cell can count; from here on `more` does.
  private static let most = 0xFFF

  /// Where each row begins in `cells`.
  private var rows: [Int: Int] = [:]
  private var cells: [UInt16] = []
  private var more: [Int: Int] = [:]
  /// The row that was used last, and where it begins: uses come in sequence.
  private var last = (row: -1, start: 0)

  /// Row n holds the clusters from n * `rowLength` on; in order.
  var sortedRows: [Int] { rows.keys.sorted() }

  /// The first cluster behind all that are used.
  var end: Int {
    guard let row = rows.keys.max() else { return 0 }
    let clusters = row * Self.rowLength..<(row + 1) * Self.rowLength
    return (clusters.last { self[$0].count > 0 } ?? clusters.lowerBound) + 1
  }

  subscript(cluster: Int) -> Cell {
    let (row, column) = cluster.quotientAndRemainder(dividingBy: Self.rowLength)
    guard let start = row == last.row ? last.start : rows[row] else { return Cell(count: 0, marks: []) }
    return cell(cells[start + column], of: cluster)
  }

  /// Counts more uses of a cluster, and says what was known before.
  @discardableResult
  mutating func add(_ times: Int, to cluster: Int, marks: Marks = []) -> Cell {
    let (row, column) = cluster.quotientAndRemainder(dividingBy: Self.rowLength)
    let place = start(of: row) + column
    let before = cell(cells[place], of: cluster)
    let (sum, overflows) = before.count.addingReportingOverflow(times)
    let count = overflows ? .max : sum
    if count >= Self.most { more[cluster] = count }
    cells[place] = UInt16(min(count, Self.most)) | before.marks.union(marks).rawValue
    return before
  }

  private func cell(_ word: UInt16, of cluster: Int) -> Cell {
    let count = Int(word) & Self.most
    return Cell(
      count: count == Self.most ? more[cluster] ?? count : count, marks: Marks(rawValue: word & ~UInt16(Self.most)))
  }

  private mutating func start(of row: Int) -> Int {
    if row == last.row { return last.start }
    if let start = rows[row] {
      last = (row, start)
      return start
    }
    let start = cells.count
    cells.append(contentsOf: repeatElement(0, count: Self.rowLength))
    rows[row] = start
    last = (row, start)
    return start
  }
}
