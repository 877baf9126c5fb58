/**
 * The one error class, and how an error that was found far away, in a picture reader or on the
 * model's own thread, gets a stack that points at the line which asked for the work.
 */
import { types } from 'node:util'

import { errorCodes } from './error-codes.js'

/**
 * The codes of {@link MagicMixError}, and the values at fault. Codes are stable: programs may
 * react to them. Details may be missing where their type says so.
 *
 * @example
 * ```ts
 * import { MagicMixError } from 'magicmix'
 *
 * try {
 *   await mixer.mix({ ...request, nu: 2 })
 * } catch (error) {
 *   if (!(error instanceof MagicMixError)) throw error
 *   if (error.code === 'INVALID_ARGUMENT') console.log(error.details.name, error.details.received) // nu 2
 *   if (error.code === 'OUT_OF_MEMORY') console.log(error.details.neededBytes)
 * }
 * ```
 */
export interface MagicMixErrorDetails {
  /** A value is of another type or out of the documented range. */
  INVALID_ARGUMENT: {
    /** Name of the value. */
    readonly name?: string
    /** The allowed values. */
    readonly expected?: string
    /** The value. */
    readonly received?: unknown
    readonly [other: string]: unknown
  }
  /** An options object has a key that does not exist. */
  UNKNOWN_OPTION: {
    /** The key. */
    readonly option: string
    /** The key that was probably meant. */
    readonly suggestion?: string
  }
  /** A prompt has more tokens than the text encoder sees, and `truncate` is not set. */
  PROMPT_TOO_LONG: {
    /** Name of the prompt. */
    readonly name: string
    /** Its number of tokens. */
    readonly tokens?: number
    /** The number that fits. */
    readonly maxTokens?: number
    /** Text of the first token that does not fit. */
    readonly firstCut?: string
    /** Its number of characters. */
    readonly length?: number
    /** The number that is tokenised at most. */
    readonly maxLength?: number
  }
  /** A prompt is not what `promptSyntax` says that it is written in. */
  PROMPT_SYNTAX: {
    /** Name of the prompt. */
    readonly name: string
    /** The character at fault, counted from 0. */
    readonly position: number
  }
  /** A phrase of `attention` is not in the content prompt, or not as often as asked. */
  PHRASE_NOT_FOUND: {
    /** As it was given. */
    readonly phrase: string
    /** The words of the prompt. */
    readonly words?: readonly string[]
    /** The occurrence that was asked for. */
    readonly occurrence?: number
    /** The number of occurrences. */
    readonly occurrences?: number
  }
  /** A phrase of `attention` lies in the part of the content prompt that was cut off. */
  PHRASE_TRUNCATED: {
    /** As it was given. */
    readonly phrase: string
    /** The number of tokens that fit. */
    readonly maxTokens: number
  }
  /** A picture is missing, damaged, too large or of an unknown format. */
  PICTURE_UNREADABLE: {
    /** Its path or description. */
    readonly picture: string
  }
  /** The mix could not be written to the file. */
  PICTURE_UNWRITABLE: {
    /** Its path. */
    readonly file?: string
  }
  /** The picture carries no recipe: magicmix did not write it, or a program on the way took it out. */
  RECIPE_NOT_FOUND: {
    /** Its path or description. */
    readonly picture: string
  }
  /** The picture carries a recipe that is damaged, or of a newer version. */
  RECIPE_INVALID: {
    /** Its path or description. */
    readonly picture: string
    /** What is wrong with it. */
    readonly problem: string
  }
  /** `magicmix replay`: something that the recipe names is not here, or is another. */
  RECIPE_MISMATCH: {
    /** 'layout', 'model', 'unet' ... */
    readonly what: string
    /** Its name, or hash, in the recipe. */
    readonly recipe?: string
    /** The same of what is here. */
    readonly here?: string
  }
  /**
   * There is no file or folder at that path; or the hub, or without it the cache, has no such
   * repository, revision or file.
   */
  MODEL_NOT_FOUND: FileDetails & {
    /** 'ORG/NAME' */
    readonly repo?: string
    /** Branch, tag or commit. */
    readonly revision?: string
    /** Path in the repository. */
    readonly file?: string
    /** Names that may have been meant. */
    readonly similar?: unknown
  }
  /** The model's file is damaged, or not a checkpoint at all. */
  MODEL_FORMAT: FileDetails
  /** A checkpoint, but of a network that is not supported. */
  MODEL_UNSUPPORTED: FileDetails & {
    /** The family that it was found to be. */
    readonly family?: string
  }
  /** The model's file does not declare a number that the network needs: pass it in `config`. */
  CONFIG_NEEDED: {
    /** As `load` takes it: '{ unet: { heads: ... } }'. */
    readonly option?: string
  }
  /** The model is gated, or a token is bad: the message says what to do. */
  ACCESS_DENIED: HubDetails
  /** A download failed again and again: the network, or a server. */
  DOWNLOAD_FAILED: HubDetails
  /** Size or SHA-256 does not match the hub's. The file was deleted. */
  DOWNLOAD_DAMAGED: HubDetails
  /** The device cannot be used here; `devices()` says why. */
  DEVICE_UNAVAILABLE: {
    /** As it was asked for. */
    readonly device?: string
    readonly [other: string]: unknown
  }
  /** A GPU, or the process of an isolated mixer, stopped in the middle of a computation. */
  DEVICE_FAILED: {
    /** Its id. */
    readonly device?: string
  }
  /** A file would not fit on the disk, or did not. */
  DISK_FULL: {
    /** The file or folder. */
    readonly path?: string
    /** Bytes that are needed there. */
    readonly neededBytes?: number
    /** Bytes that are free there. */
    readonly freeBytes?: number
  }
  /** A file cannot be written, for another reason. */
  FILE_UNWRITABLE: {
    /** The file. */
    readonly path?: string
  }
  /** Memory was refused, or would not suffice. */
  OUT_OF_MEMORY: {
    /** Its id. */
    readonly device?: string
    /** Bytes that are needed there. */
    readonly neededBytes?: number
    /** Bytes that are free there. */
    readonly freeBytes?: number
  }
  /** The system gives the process no thread: `ulimit -u`, `--pids-limit`, `TasksMax`. */
  OUT_OF_THREADS: object
  /** As many mixes wait as `maxQueue` allows. */
  QUEUE_FULL: {
    /** Mixes that wait. */
    readonly waiting: number
    /** Mixes that may wait. */
    readonly maxQueue: number
  }
  /** The mix took longer than the mixer's `timeLimit`. */
  TIMED_OUT: {
    /** In ms. */
    readonly timeLimit: number
  }
  /** The mixer has been disposed of, before the call or during it. */
  DISPOSED: object
  /** The native part of the package could not be loaded. */
  ADDON_UNAVAILABLE: {
    /** 'linux-x64' */
    readonly platform: string
    /** 'glibc' or 'musl'; empty beside Linux. */
    readonly libc: string
    /** Version of Node. */
    readonly node: string
    /** The files that were tried. */
    readonly attempts: readonly {
      /** Its path. */
      readonly file: string
      /** Why it did not load. */
      readonly problem: string
    }[]
    /** Platforms that the package has prebuilt addons for. */
    readonly prebuilt: readonly string[]
  }
  /** `magicmix build` could not compile the addon. */
  BUILD_FAILED: { readonly [name: string]: unknown }
  /** A network gave NaN or infinite values: damaged weights, or too little precision. */
  NOT_FINITE: object
  /** A bug of magicmix. */
  INTERNAL: object
}

/** @inline */
interface FileDetails {
  /** The file or folder. */
  readonly path?: string
  /** The tensor at fault. */
  readonly tensor?: string
  readonly [other: string]: unknown
}

/** @inline */
interface HubDetails {
  /** 'ORG/NAME' */
  readonly repo?: string
  readonly [other: string]: unknown
}

/**
 * Error codes, for programs: the keys of {@link MagicMixErrorDetails}, which explains them.
 *
 * @example
 * ```ts
 * import { MagicMixError, type MagicMixErrorCode } from 'magicmix'
 *
 * const passing: readonly MagicMixErrorCode[] = ['QUEUE_FULL', 'TIMED_OUT', 'OUT_OF_MEMORY']
 * const mayTryAgain = (error: unknown) =>
 *   error instanceof MagicMixError && passing.includes(error.code)
 * ```
 */
export type MagicMixErrorCode = keyof MagicMixErrorDetails

/**
 * A {@link MagicMixError} as JSON.
 *
 * @example
 * ```ts
 * import type { MagicMixError, MagicMixErrorJson } from 'magicmix'
 *
 * const told = (error: MagicMixError): MagicMixErrorJson => {
 *   const { details, ...others } = error.toJSON()
 *   return { ...others, details: { code: others.code } } // paths are not for everybody
 * }
 * ```
 */
export interface MagicMixErrorJson {
  /** Marks it as one. */
  name: 'MagicMixError'
  /** The kind of failure. */
  code: MagicMixErrorCode
  /** For people. */
  message: string
  /** Long values are shortened, bytes only described. */
  details: Record<string, unknown>
  /** Message of the error that caused it. */
  cause?: string
}

class CodedError<C extends MagicMixErrorCode> extends Error {
  /** The kind of failure, for programs. */
  readonly code: C
  /** The values at fault; their type follows from the code. */
  readonly details: MagicMixErrorDetails[C]

  constructor(code: C, message: string, details?: MagicMixErrorDetails[C], options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.details = details ?? ({} as MagicMixErrorDetails[C])
  }

  /** For `JSON.stringify`, logs and messages between threads and processes. */
  toJSON(): MagicMixErrorJson {
    const { code, message, details, cause } = this
    return {
      name: 'MagicMixError',
      code,
      message,
      details: jsonSafe(details, 0) as Record<string, unknown>,
      ...(cause === undefined ? {} : { cause: String(jsonSafe(cause, 0)) }),
    }
  }

  /**
   * The error that {@link toJSON} described, with its code, message and details. Its stack begins
   * here.
   *
   * @throws TypeError if `json` is something else
   */
  static fromJSON(json: unknown): MagicMixError {
    const { name, code, message, details, cause } = Object(json) as Partial<MagicMixErrorJson>
    const known = typeof code === 'string' && Object.hasOwn(errorCodes, code)
    if (name !== 'MagicMixError' || !known || typeof message !== 'string') {
      throw new TypeError('This is not a MagicMixError as JSON: { name, code, message, details }')
    }
    const options = cause === undefined ? {} : { cause: new Error(cause) }
    return new MagicMixError(code, message, Object(details) as never, options)
  }

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'MagicMixError' })
    Object.defineProperty(this, 'name', { value: 'MagicMixError' })
  }
}

/**
 * The error of every function of magicmix, except for a `signal`'s reason and an error of a
 * callback: those arrive unchanged. The stack begins at the caller's line. Once `code` is
 * compared, TypeScript knows the type of `details`.
 *
 * It has `code`, `message`, `details` (the values at fault), sometimes `cause`, and `toJSON()`, of which
 * `MagicMixError.fromJSON(json)` makes the same error in another thread or process. The page "Errors" of the
 * documentation has for every code its cause, a message and the remedy.
 *
 * @example
 * ```ts
 * import { MagicMixError } from 'magicmix'
 *
 * const content = 'a very long prompt '.repeat(40)
 * try {
 *   await mixer.mix({ layout: 'corgi.jpg', content })
 * } catch (error) {
 *   if (error instanceof MagicMixError && error.code === 'PROMPT_TOO_LONG') {
 *     console.log(`${error.details.tokens} tokens, ${error.details.maxTokens} fit`)
 *   } else throw error
 * }
 * ```
 */
export type MagicMixError = { [C in MagicMixErrorCode]: CodedError<C> }[MagicMixErrorCode]

interface MagicMixErrorClass {
  new <C extends MagicMixErrorCode>(
    code: C,
    message: string,
    details?: MagicMixErrorDetails[C],
    options?: ErrorOptions,
  ): MagicMixError
  readonly prototype: MagicMixError
  fromJSON(json: unknown): MagicMixError
}

/**
 * The class of {@link MagicMixError}, for `instanceof`; `MagicMixError.fromJSON(json)` makes one of what `toJSON` gave.
 *
 * @example
 * ```ts
 * import { MagicMixError } from 'magicmix'
 *
 * const sent = JSON.stringify(new MagicMixError('DISPOSED', 'This mixer has been disposed of'))
 * const error = MagicMixError.fromJSON(JSON.parse(sent)) // in another thread or process
 * console.log(error.code, error instanceof MagicMixError) // DISPOSED true
 * ```
 */
export const MagicMixError = CodedError as unknown as MagicMixErrorClass

/** The message of anything that was thrown, in whatever realm. */
export function messageOf(thrown: unknown): string {
  return types.isNativeError(thrown) ? thrown.message : String(thrown)
}

/** A value that `JSON.stringify` takes, and that is short enough for a log. */
export function jsonSafe(value: unknown, depth = 0): unknown {
  const longest = 1000
  if (typeof value === 'string') {
    return value.length > longest ? `${value.slice(0, longest)}...` : value
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value)
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return value
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    return `${value.constructor.name} of ${value.byteLength} bytes`
  }
  if (types.isNativeError(value)) return value.message
  if (depth === 4) return Array.isArray(value) ? '[...]' : '{...}'
  if (Array.isArray(value)) {
    const entries = value.slice(0, 100).map((entry) => jsonSafe(entry, depth + 1))
    return value.length > 100 ? [...entries, `${value.length - 100} more`] : entries
  }
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, 100)
      .map(([name, entry]) => [name, jsonSafe(entry, depth + 1)]),
  )
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** An error that is the caller's own and has to reach the caller as it is. */
export class CallersOwn {
  constructor(readonly error: unknown) {}
}

/** The place in the caller's code from which a public function was called. */
export interface CallSite {
  /** The error that the call should end with, given the error thrown inside of it. */
  errorFor(thrown: unknown): unknown
}

/**
 * Remembers where the public function `entry` was called. To be called while `entry` is on the
 * stack, before its first `await`.
 */
export function callSite(entry: (...args: never[]) => unknown): CallSite {
  const here: { stack?: unknown } = {}
  Error.captureStackTrace(here, entry)
  return {
    errorFor(thrown) {
      if (thrown instanceof CallersOwn) return thrown.error
      const error = isNativeError(thrown)
        ? new MagicMixError(thrown.code as MagicMixErrorCode, thrown.message, thrown.details)
        : thrown
      if (error instanceof MagicMixError) {
        // Programs may replace Error.prepareStackTrace, and then it can be anything.
        if (typeof here.stack !== 'string') return error
        const frames = here.stack.split('\n').slice(1)
        error.stack = [`${error.name}: ${error.message}`, ...frames].join('\n')
      }
      return error
    },
  }
}

/** Runs `work`; its errors point at the place where `entry` was called. */
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

type NativeLikeError = Error & { code: string; details: object }

/** The addon's errors are plain `Error`s with a code of ours and details. */
export function isNativeError(error: unknown): error is NativeLikeError {
  return (
    types.isNativeError(error) && // of the addon's realm, which need not be this one
    !(error instanceof MagicMixError) &&
    typeof (error as Partial<NativeLikeError>).code === 'string' &&
    typeof (error as Partial<NativeLikeError>).details === 'object'
  )
}
