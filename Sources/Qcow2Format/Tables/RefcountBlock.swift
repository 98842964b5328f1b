import HostStorage
import ImageFormat

/// A refcount block's counts, 2 to the power of `order` bits wide each (specification, "Refcount table and blocks").
/// Counts narrower than a byte fill each byte from its least significant bit.
struct RefcountBlock {
  var bytes: [UInt8]
  let order: Int
  let home: HostOffset
  var state: WriteState

  init(bytes: [UInt8], order: Int, home: HostOffset, state: WriteState = .clean) {
    self.bytes = bytes
    self.order = order
    self.home = home
    self.state = state
  }

  static func largest(order: Int) -> UInt64 { order == 6 ? .max : (1 << (1 << UInt64(order))) - 1 }

  subscript(index: Int) -> UInt64 {
    get {
      switch order {
      case 3: UInt64(bytes[index])
      case 4: UInt64(BigEndian.load(UInt16.self, from: bytes.span, at: index * 2))
      case 5: UInt64(BigEndian.load(UInt32.self, from: bytes.span, at: index * 4))
      case 6: BigEndian.load(UInt64.self, from: bytes.span, at: index * 8)
      default: UInt64(bytes[(index << order) / 8] >> UInt8((index << order) % 8)) & Self.largest(order: order)
      }
    }
    set {
      state.note(.change)
      switch order {
      case 3: bytes[index] = UInt8(newValue)
      case 4: BigEndian.store(UInt16(newValue), into: &bytes, at: index * 2)
      case 5: BigEndian.store(UInt32(newValue), into: &bytes, at: index * 4)
      case 6: BigEndian.store(newValue, into: &bytes, at: index * 8)
      default:
        let shift = UInt8((index << order) % 8)
        let mask = UInt8(Self.largest(order: order)) << shift
        let place = (index << order) / 8
        bytes[place] = bytes[place] & ~mask | UInt8(newValue) << shift
      }
    }
  }
}
