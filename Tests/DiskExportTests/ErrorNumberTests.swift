import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import Testing

@testable import DiskExport

@Suite struct ErrorNumberTests {
  static let chain: [(ChainError.Code, Int32)] = [
    (.image, EIO), (.storage, EIO), (.notFound, ENOENT), (.refusedName, EACCES), (.unknownFormat, EINVAL),
    (.loop, ELOOP), (.tooDeep, ELOOP), (.locked, EBUSY), (.changed, ESTALE), (.notInChain, EINVAL),
    (.readOnly, EROFS), (.noSpace, ENOSPC), (.nameTooLong, ENAMETOOLONG), (.invalidName, EINVAL),
    (.snapshotsNeedBacking, ENOTSUP), (.ambiguous, EINVAL), (.outcomeUnknown, EIO), (.usage, EINVAL),
  ]

  @Test(arguments: chain) func aChainErrorHasItsNumber(_ code: ChainError.Code, _ number: Int32) {
    #expect(Errno(ChainError(code, path: "/a", message: "m")) == Errno(number))
  }

  static let images: [(ImageError.Code, Int32)] = [
    (.notThisFormat, EIO), (.corrupt, EIO), (.unsupported, ENOTSUP), (.refused, EROFS), (.noSpace, ENOSPC),
    (.nameTooLong, ENAMETOOLONG), (.outcomeUnknown, EIO), (.storage, EIO),
  ]

  @Test(arguments: images) func anImageErrorHasItsNumber(_ code: ImageError.Code, _ number: Int32) {
    #expect(Errno(ChainError(ImageError(code, path: "/a", reason: "r"))) == Errno(number))
  }

  @Test(arguments: [(ENOSPC, ENOSPC), (EDQUOT, EDQUOT), (EIO, EIO), (ESTALE, ESTALE), (EROFS, EROFS)])
  func theHostsNumberIsPassedOn(_ host: Int32, _ number: Int32) {
    let error = StorageError(errno: host, operation: "write", path: "/a")
    #expect(Errno(ChainError(error)) == Errno(number))
    #expect(Errno(ChainError(ImageError(error))) == Errno(number))
  }

  @Test(arguments: [EBADF, EINTR, EFAULT, EPERM, 0]) func theProgramsOwnTroubleIsAnInputOutputError(_ host: Int32) {
    #expect(Errno(ChainError(StorageError(errno: host, operation: "read", path: "/a"))) == Errno(EIO))
  }

  @Test func aLostSyncIsAnInputOutputErrorWhateverItsCause() {
    let error = StorageError(code: .syncLost, errno: ENOSPC, operation: "sync", path: "/a")
    #expect(Errno(ChainError(error)) == Errno(EIO))
  }
}
