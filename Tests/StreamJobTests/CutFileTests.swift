import BackingChain
import Foundation
import HostStorage
import ImageFormat
import StreamJob
import TestSupport
import Testing

/// A file of the chain has lost its end: what lay there is an error to whoever wants it, never zeros, never a hole, and never
/// counts as copied. All of which file × when × of what kind × what is done.
@Suite(.timeLimit(.minutes(5))) struct CutFileTests {
  enum Moment: String, CaseIterable { case atOpening, duringTheMount }

  enum Deed: Hashable, CaseIterable {
    case read, seek, writeElsewhere
    case job(ErrorPolicy)
    case completion(ErrorPolicy)

    static let allCases: [Deed] =
      [.read, .seek, .writeElsewhere] + ErrorPolicy.allCases.flatMap { [.job($0), .completion($0)] }

    func isPossible(at place: CutChain.Place) -> Bool {
      switch self {
      case .read, .seek: true
      case .writeElsewhere: place.hasJob || place == .active
      case .job, .completion: place.hasJob
      }
    }
  }

  @Test(arguments: CutChain.Kind.allCases, CutChain.Place.allCases)
  func whatAFileHasLostIsAnErrorAndNeverZeros(kind: CutChain.Kind, place: CutChain.Place) throws {
    guard let images = try CutChain(kind, at: place) else { return }
    for moment in Moment.allCases where kind.shows(moment) {
      for deed in Deed.allCases where deed.isPossible(at: place) {
        try images.restore()
        try attempt(deed, moment, images)
      }
    }
  }

  private func attempt(_ deed: Deed, _ moment: Moment, _ images: CutChain) throws {
    let name = "\(images.kind) \(images.place) \(moment) \(deed)"
    if moment == .atOpening { try images.cut() }
    let chain: BackingChain
    do {
      chain = try images.open()
    } catch {
      // An image that lost something may be refused as a top that is written.
      #expect(images.place == .active && moment == .atOpening, "\(name): \(error)")
      return
    }
    defer { try? chain.close() }
    // Tables are in memory then.
    if moment == .duringTheMount {
      #expect(sector(chain, at: 0) == .success(Array(CutChain.bytes(count: 512))), "\(name)")
      try images.cut()
    }
    switch deed {
    case .read: expectLoss(chain, images, name)
    case .seek: try expectNoHole(chain, images, name)
    case .writeElsewhere where images.place == .active:
      // The file would grow over what it has lost, and zeros would be there.
      let bytes = [UInt8](repeating: 9, count: 4096)
      for _ in 1...2 {
        #expect(throws: ChainError.self, "\(name)") { try chain.write(bytes.span, at: GuestOffset(65536)) }
        expectLoss(chain, images, name)
      }
      #expect(throws: ChainError.self, "\(name)") { try chain.flush() }
    case .writeElsewhere:
      try chain.write([UInt8](repeating: 9, count: 4096).span, at: GuestOffset(65536))
      #expect(sector(chain, at: 65536) == .success([UInt8](repeating: 9, count: 512)), "\(name)")
      expectLoss(chain, images, name)
    case .job(let policy): expectJob(chain, policy, images, name)
    case .completion(let policy): try expectCompletion(chain, policy, images, name)
    }
  }

  private func sector(_ chain: BackingChain, at offset: Int) -> Result<[UInt8], Unreadable> {
    do {
      return .success(
        try [UInt8](capacity: 512) { (output: inout OutputSpan<UInt8>) throws(ChainError) in
          try chain.read(GuestRange(at: GuestOffset(offset), count: 512), into: &output)
        })
    } catch {
      return .failure(Unreadable())
    }
  }

  private struct Unreadable: Error, Equatable {}

  private func expectLoss(_ chain: BackingChain, _ images: CutChain, _ name: String) {
    #expect(sector(chain, at: images.kind.size - 512) == .failure(Unreadable()), "\(name)")
    #expect(sector(chain, at: 0) == .success(Array(CutChain.bytes(count: 512))), "\(name)")
  }

  /// No byte that cannot be read is told to be a hole.
  private func expectNoHole(_ chain: BackingChain, _ images: CutChain, _ name: String) throws {
    var position = GuestOffset(images.kind.size - 131_072)
    let end = GuestOffset(images.kind.size)
    while position < end {
      guard let (isHole, count) = try? chain.extent(at: position, limit: end - position) else {
        // Its tables are lost, too: that is an error, and not a hole.
        position = (position + 1).roundedUp(to: 512)
        continue
      }
      #expect(!isHole, "\(name) at \(position)")
      position += count
    }
  }

  private func expectJob(_ chain: BackingChain, _ policy: ErrorPolicy, _ images: CutChain, _ name: String) {
    let running = RunningJob(
      target: chain, StreamOptions(start: .on, base: images.place.base, onError: policy))
    let isPausing = policy == .stop && images.place.isCopied
    let expected: JobState = !images.place.isCopied ? .pending : isPausing ? .paused : .failed
    running.wait { !$0.state.hasJob || $0.state == .paused || $0.state == .pending }
    #expect(running.status.state == expected, "\(name): \(running.status.error)")
    #expect(running.status.error.isEmpty != images.place.isCopied, "\(name)")
    if isPausing { #expect(running.status.pause.error != nil, "\(name)") }
    if policy == .ignore && images.place.isCopied { #expect(running.status.done == running.status.total, "\(name)") }
    if images.place.isCopied { expectUnpopulated(chain, name) }
    expectLoss(chain, images, name)
    #expect(running.job.shutDown(patience: .seconds(10)))
  }

  private func expectUnpopulated(_ chain: BackingChain, _ name: String) {
    let top = chain.snapshot.layers[0].image
    let last = GuestOffset(top.virtualSize.bytes - 512)
    #expect((try? top.mapping(at: last, limit: 512))?.mapping == .unallocated, "\(name)")
  }

  private func expectCompletion(
    _ chain: BackingChain, _ policy: ErrorPolicy, _ images: CutChain, _ name: String
  ) throws {
    let before = chain.snapshot.layers[0].image.backing
    let running = RunningJob(
      target: chain, StreamOptions(start: .on, base: images.place.base, onError: policy))
    let isChanged = try chain.snapshot.layers.dropFirst().contains { try $0.changeSinceOpening() != nil }
    if case .success = running.write("") {
      #expect(images.place == .keptBase && !isChanged, "\(name) was completed")
      #expect(chain.snapshot.layers.count == 2, "\(name)")
    } else {
      #expect(images.place.isCopied || isChanged, "\(name): \(running.status.error)")
      #expect(chain.snapshot.layers[0].image.backing == before, "\(name)")
      #expect(chain.snapshot.layers.count == 3, "\(name)")
    }
    if images.place.isCopied { expectUnpopulated(chain, name) }
    expectLoss(chain, images, name)
    #expect(running.job.shutDown(patience: .seconds(10)))
  }

  @Test func theCombinationsAreCounted() {
    var count = 0
    for kind in CutChain.Kind.allCases {
      for place in CutChain.Place.allCases where !(kind == .raw && [.middle, .middleAboveKeptBase].contains(place)) {
        count += Moment.allCases.count { kind.shows($0) } * Deed.allCases.filter { $0.isPossible(at: place) }.count
      }
    }
    #expect(count == 615)
  }
}

extension CutChain.Kind {
  /// A raw image that is cut before it is opened is a shorter one, and nobody can know.
  fileprivate func shows(_ moment: CutFileTests.Moment) -> Bool { self != .raw || moment == .duringTheMount }
}
