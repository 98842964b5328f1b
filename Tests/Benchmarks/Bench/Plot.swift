import Foundation

/// Lines over a logarithmic axis, as an SVG file that carries its figures.
struct Plot {
  let title: String
  let abscissa: String
  let ordinate: String
  /// How a place on the axis is written.
  var label: @Sendable (Double) -> String = { "\(Int($0))" }
  var lines: [(name: String, points: [(x: Double, y: Double)])] = []

  private static let colors = ["#0b6e99", "#c8553d", "#6b8e23", "#7a5195"]
  private static let width = 640.0
  private static let height = 360.0
  private static let margin = (left: 70.0, right: 20.0, top: 40.0, bottom: 50.0)

  mutating func add(_ y: Double, at x: Double, to name: String) {
    if let index = lines.firstIndex(where: { $0.name == name }) {
      lines[index].points.append((x, y))
    } else {
      lines.append((name, [(x, y)]))
    }
  }

  private var places: [Double] { Set(lines.flatMap { $0.points.map(\.x) }).sorted() }

  /// The end of the axis: a round number above all points.
  private var top: Double {
    let most = lines.flatMap { $0.points.map(\.y) }.max() ?? 1
    let power = pow(10, floor(log10(max(most, 1e-9))))
    return ([1, 2, 2.5, 5, 10].first { $0 * power >= most } ?? 10) * power
  }

  private func position(_ x: Double, _ y: Double) -> (x: Double, y: Double) {
    let (first, last) = (log2(places.first ?? 1), log2(places.last ?? 2))
    let part = last > first ? (log2(x) - first) / (last - first) : 0.5
    let (wide, high) = (
      Self.width - Self.margin.left - Self.margin.right, Self.height - Self.margin.top - Self.margin.bottom
    )
    return (Self.margin.left + part * wide, Self.margin.top + (1 - y / top) * high)
  }

  var svg: String {
    let size = "\(Int(Self.width)) \(Int(Self.height))"
    let head = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(size)" font-family="sans-serif" font-size="12">
      <!--
      \(figures)
      -->
      <rect width="100%" height="100%" fill="white"/>
      """
    return ([head] + axes + curves + ["</svg>", ""]).joined(separator: "\n")
  }

  /// A line for each place on the axis, the columns as in the legend.
  private var figures: String {
    let head = ([abscissa] + lines.map(\.name)).joined(separator: ", ")
    let rows = places.map { x in
      let cells = lines.map { line in line.points.first { $0.x == x }.map { Unit.number($0.y) } ?? "" }
      return ([label(x)] + cells).joined(separator: ", ")
    }
    return ([head] + rows).joined(separator: "\n")
  }

  private var axes: [String] {
    let low = position(places.first ?? 1, 0)
    let high = position(places.last ?? 2, top)
    let ticks = (0...4).map { top * Double($0) / 4 }
    let across = ticks.flatMap { value in
      let y = position(places.first ?? 1, value).y
      return [
        #"<line x1="\#(low.x)" y1="\#(y)" x2="\#(high.x)" y2="\#(y)" stroke="lightgray"/>"#,
        Self.text(Unit.number(value), low.x - 6, y + 4, anchor: "end"),
      ]
    }
    let along = places.map { Self.text(label($0), position($0, 0).x, low.y + 18, anchor: "middle") }
    return across + along + [
      Self.text(abscissa, (low.x + high.x) / 2, low.y + 38, anchor: "middle"),
      Self.text("\(title), \(ordinate)", low.x, 18, anchor: "start"),
    ]
  }

  private var curves: [String] {
    zip(lines, Self.colors).enumerated().flatMap { index, pair in
      let (line, color) = pair
      let points = line.points.map { position($0.x, $0.y) }
      let path = points.map { "\(Self.short($0.x)),\(Self.short($0.y))" }.joined(separator: " ")
      let dots = points.map {
        #"<circle cx="\#(Self.short($0.x))" cy="\#(Self.short($0.y))" r="3" fill="\#(color)"/>"#
      }
      let place = Self.margin.left + 10 + Double(index) * 170
      return [#"<polyline points="\#(path)" fill="none" stroke="\#(color)" stroke-width="2"/>"#] + dots + [
        #"<rect x="\#(place)" y="26" width="10" height="10" fill="\#(color)"/>"#,
        Self.text(line.name, place + 15, 35, anchor: "start"),
      ]
    }
  }

  private static func text(_ words: String, _ x: Double, _ y: Double, anchor: String) -> String {
    #"<text x="\#(short(x))" y="\#(short(y))" text-anchor="\#(anchor)">\#(words)</text>"#
  }

  private static func short(_ value: Double) -> String { String(format: "%.1f", value) }
}
