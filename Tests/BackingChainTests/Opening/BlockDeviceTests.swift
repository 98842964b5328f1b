import BackingChain
import Foundation
import TestSupport
import Testing

/// A loop device over a file, detached at the end; nil where this host gives none.
private final class LoopDevice {
  let path: String

  init?(over file: String) throws {
    let attached = try ExternalProgram("sh").run("-c", "truncate -s %4096 \(file) && losetup --show -f \(file)")
    guard attached.succeeded else { return nil }
    path = attached.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  deinit { _ = try? ExternalProgram("losetup").run("-d", path) }

  static let isAvailable = {
    guard let folder = try? ImageFolder(), let file = try? folder.raw("disk") else { return false }
    return (try? LoopDevice(over: file)) != nil
  }()
}

@Suite(.enabled(if: LoopDevice.isAvailable, "this host gives no loop devices"))
struct BlockDeviceTests {
  let folder: ImageFolder
  init() throws { folder = try ImageFolder() }

  private let allowing = ChainOptions.reading.with {
    $0.allowsBlockDevices = true
    $0.backingRoots = ["/dev"]
  }

  @Test func aDeviceAsBackingFileHasToBeAllowed() throws {
    let device = try #require(try LoopDevice(over: folder.raw("disk")))
    let top = try folder.overlay("top", on: device.path)
    #expect(refusal(top, allowing) == nil)
    #expect(refusal(top)?.message.contains("backing-root=/dev") == true)
    #expect(refusal(top, .reading.with { $0.backingRoots = ["/dev"] })?.message.contains("`-o allow-block`") == true)
  }

  @Test func aDevicesFormatIsNotGuessed() throws {
    let device = try #require(try LoopDevice(over: folder.create(folder.path("image"))))
    #expect(refusal(device.path)?.code == .unknownFormat)
    #expect(refusal(device.path, .reading.with { $0.format = "qcow2" }) == nil)
  }

  @Test func aLoopDeviceOverTheMountIsRefused() throws {  // C28
    _ = try folder.folder("mnt")
    let device = try #require(try LoopDevice(over: folder.raw("mnt/disk")))
    let top = try folder.overlay("top", on: device.path)
    #expect(refusal(top, allowing.with { $0.mountpoint = folder.path("mnt") })?.code == .loop)
    #expect(refusal(top, allowing) == nil)
  }

  @Test func aLoopDeviceOverAnImageOfTheChainIsRefused() throws {
    let device = try #require(try LoopDevice(over: folder.raw("top")))
    let top = try folder.overlay("top", on: device.path)
    #expect(refusal(top, allowing)?.code == .loop)
  }
}
