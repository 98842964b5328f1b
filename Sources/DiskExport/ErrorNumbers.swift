import BackingChain
import FUSESession
import Glibc
import HostStorage
import ImageFormat
import StreamJob

// The one table of errors and error numbers.

extension Errno {
  init(_ error: StreamError) {
    self =
      switch error.code {
      case .busy: Errno(EBUSY)
      case .noJob: Errno(EINVAL)
      case .cancelled: Errno(ECANCELED)
      case .withdrawn: Errno(EINTR)
      case .shutDown: Errno(ESHUTDOWN)
      case .chain: error.cause.map { Errno($0) } ?? Errno(EIO)
      }
  }

  init(_ error: ChainError) {
    self =
      switch error.code {
      case .image: error.cause.map { Errno($0) } ?? Errno(EIO)
      case .storage: error.storage.map { Errno($0) } ?? Errno(EIO)
      case .notFound: Errno(ENOENT)
      case .refusedName: Errno(EACCES)
      case .unknownFormat, .notInChain, .invalidName, .ambiguous, .usage: Errno(EINVAL)
      case .loop, .tooDeep: Errno(ELOOP)
      case .locked: Errno(EBUSY)
      case .changed: Errno(ESTALE)
      case .readOnly: Errno(EROFS)
      case .noSpace: Errno(ENOSPC)
      case .nameTooLong: Errno(ENAMETOOLONG)
      case .snapshotsNeedBacking: Errno(ENOTSUP)
      case .outcomeUnknown, .letGo: Errno(EIO)
      }
  }

  private init(_ error: ImageError) {
    self =
      switch error.code {
      case .storage: error.cause.map { Errno($0) } ?? Errno(EIO)
      case .notThisFormat, .corrupt, .outcomeUnknown: Errno(EIO)
      case .unsupported: Errno(ENOTSUP)
      case .refused: Errno(EROFS)
      case .noSpace: Errno(ENOSPC)
      case .nameTooLong: Errno(ENAMETOOLONG)
      }
  }

  /// The host's number where it means the same to whoever uses the mount. One that is about the program's own doings
  /// (a bad descriptor, an interrupted call) would be misread there.
  private init(_ error: StorageError) {
    let passedOn = [EIO, ENOSPC, EDQUOT, EROFS, ENOMEM, ESTALE, ETIMEDOUT, EFBIG, ENODEV, ENXIO, EREMOTEIO, EILSEQ]
    self =
      switch error.code {
      case .host: Errno(passedOn.contains(error.errno) ? error.errno : EIO)
      case .locked: Errno(EBUSY)
      case .syncLost, .cut: Errno(EIO)
      }
  }
}
