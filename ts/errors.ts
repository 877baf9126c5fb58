/**
 * The one error class, and how an error that was found far away, in a picture reader or on the
 * model's own thread, gets a stack that points at the line which asked for the work.
 */

/** What a {@link MagicMixError} can be about. Codes are stable: programs may react to them. */
export type MagicMixErrorCode =
  /** A value is of another type or outside of what the documentation allows. */
  | 'INVALID_ARGUMENT'
  /** An options object has a key that does not exist. */
  | 'UNKNOWN_OPTION'
  /** A prompt has more tokens than the text encoder sees, and `truncate` is not set. */
  | 'PROMPT_TOO_LONG'
  /** A phrase of `attention` is not in the content prompt, or not as often as asked. */
  | 'PHRASE_NOT_FOUND'
  /** A phrase of `attention` lies in the part of the content prompt that was cut off. */
  | 'PHRASE_TRUNCATED'
  /** The layout picture is missing, damaged, too large or of an unknown format. */
  | 'PICTURE_UNREADABLE'
  /** The mix could not be written to the file. */
  | 'PICTURE_UNWRITABLE'
  /**
   * There is no file or folder at that path; or the hub, or without it the cache, has no such
   * repository, revision or file. `similar` in the details is what may have been meant.
   */
  | 'MODEL_NOT_FOUND'
  /** The model's file is damaged, or not a checkpoint at all. */
  | 'MODEL_FORMAT'
  /** A checkpoint, but of a network that is not supported. */
  | 'MODEL_UNSUPPORTED'
  /** The model's file cannot tell a number that the network needs: pass it in `config`. */
  | 'CONFIG_NEEDED'
  /** The hub lets only those have the model who accepted its licence; the message says how. */
  | 'ACCESS_DENIED'
  /** A download failed, and did so again when it was repeated: the network, or a server. */
  | 'DOWNLOAD_FAILED'
  /** What came has not the size or the SHA-256 that the hub announced. It was deleted. */
  | 'DOWNLOAD_DAMAGED'
  /** The device that was asked for cannot be used here; `devices()` says why. */
  | 'DEVICE_UNAVAILABLE'
  /** A GPU stopped working in the middle of a computation. */
  | 'DEVICE_FAILED'
  /** A file would not fit on the disk (`neededBytes`, `freeBytes` in the details), or did not. */
  | 'DISK_FULL'
  /** A file cannot be written, for another reason. */
  | 'FILE_UNWRITABLE'
  /** Memory was refused, or would not suffice. */
  | 'OUT_OF_MEMORY'
  /** The mixer has been disposed of, before the call or during it. */
  | 'DISPOSED'
  /** The native part of the package could not be loaded. */
  | 'ADDON_UNAVAILABLE'
  /** `magicmix build` could not compile the addon. */
  | 'BUILD_FAILED'
  /** A network gave values that are no finite numbers: damaged weights, or too little precision. */
  | 'NOT_FINITE'
  /** A bug of magicmix. */
  | 'INTERNAL'

/** The values at fault, by name. */
export type MagicMixErrorDetails = Readonly<Record<string, unknown>>

/**
 * What every function of magicmix throws or rejects with, except for a `signal`'s reason and what
 * a callback throws: those arrive unchanged. The stack begins at the caller's line.
 *
 * @example
 * ```ts
 * try {
 *   await mixer.mix({ layout: 'corgi.jpg', content: prompt })
 * } catch (error) {
 *   if (error instanceof MagicMixError && error.code === 'PROMPT_TOO_LONG') shorten(error.details)
 *   else throw error
 * }
 * ```
 */
export class MagicMixError extends Error {
  /** What went wrong, for programs. */
  readonly code: MagicMixErrorCode
  /** The values at fault, by name. */
  readonly details: MagicMixErrorDetails

  constructor(
    code: MagicMixErrorCode,
    message: string,
    details: MagicMixErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.code = code
    this.details = details
  }

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'MagicMixError' })
  }
}

/** An error that is the caller's own and has to reach the caller as it is. */
export class CallersOwn {
  constructor(readonly error: unknown) {}
}

/** The place in the caller's code from which a public function was called. */
export interface CallSite {
  /** The error that the call should end with, given what was thrown inside of it. */
  errorFor(thrown: unknown): unknown
}

/**
 * Remembers where the public function `entry` was called. To be called while `entry` is on the
 * stack, before its first `await`.
 */
export function callSite(entry: (...args: never[]) => unknown): CallSite {
  const here: { stack?: string } = {}
  Error.captureStackTrace(here, entry)
  return {
    errorFor(thrown) {
      if (thrown instanceof CallersOwn) return thrown.error
      const error = isNativeError(thrown)
        ? new MagicMixError(thrown.code as MagicMixErrorCode, thrown.message, thrown.details)
        : thrown
      if (error instanceof MagicMixError) {
        const frames = (here.stack ?? '').split('\n').slice(1)
        error.stack = [`${error.name}: ${error.message}`, ...frames].join('\n')
      }
      return error
    },
  }
}

/** Runs `work`; what it throws points at the place where `entry` was called. */
export async function calledFrom<T>(
  entry: (...args: never[]) => unknown,
  work: () => Promise<T>,
): Promise<T> {
  const site = callSite(entry)
  try {
    return await work()
  } catch (thrown) {
    throw site.errorFor(thrown)
  }
}

type CodedError = Error & { code: string; details: MagicMixErrorDetails }

/** The addon's errors are plain `Error`s with a code of ours and details. */
export function isNativeError(error: unknown): error is CodedError {
  return (
    error instanceof Error &&
    !(error instanceof MagicMixError) &&
    typeof (error as Partial<CodedError>).code === 'string' &&
    typeof (error as Partial<CodedError>).details === 'object'
  )
}
