/** How errors of magicmix itself are answered, by code: the status, and what a client may know of them. */
import type { MagicMixErrorCode } from 'magicmix'

/** How an error is answered. */
export interface MixAnswer {
  /** The HTTP status; of a job that fails it is that of the APIs which wait for the picture. */
  readonly status: number
  /** The HTTP status where the request is at fault: it names what is not here. */
  readonly named?: number
  /** Seconds, for the header of that name. */
  readonly retryAfter?: number
  /** What clients get in place of the message, which may tell of this machine's paths and devices: the log has it. */
  readonly instead?: (code: MagicMixErrorCode) => string
}

const ofRequest: MixAnswer = { status: 422 }
const ofMix: MixAnswer = { status: 503, retryAfter: 60 }
const ofModel: MixAnswer = {
  status: 503,
  retryAfter: 60,
  instead: (code) => `The model cannot be used (${code}); the server's log says why`,
}
const ofMemory: MixAnswer = {
  status: 503,
  retryAfter: 30,
  instead: () => 'There is not enough memory now',
}

export const mixCodes: Readonly<Record<MagicMixErrorCode, MixAnswer>> = {
  INVALID_ARGUMENT: ofRequest,
  UNKNOWN_OPTION: ofRequest,
  PROMPT_TOO_LONG: ofRequest,
  PROMPT_SYNTAX: ofRequest,
  PHRASE_NOT_FOUND: ofRequest,
  PHRASE_TRUNCATED: ofRequest,
  PICTURE_UNREADABLE: ofRequest,
  PICTURE_UNWRITABLE: ofModel,
  RECIPE_NOT_FOUND: ofRequest,
  RECIPE_INVALID: ofRequest,
  RECIPE_MISMATCH: ofRequest,
  MODEL_NOT_FOUND: { ...ofModel, named: 422 },
  MODEL_FORMAT: ofModel,
  MODEL_UNSUPPORTED: ofModel,
  CONFIG_NEEDED: ofModel,
  ACCESS_DENIED: ofModel,
  DOWNLOAD_FAILED: ofModel,
  DOWNLOAD_DAMAGED: ofModel,
  DEVICE_UNAVAILABLE: ofModel,
  DEVICE_FAILED: ofModel,
  DISK_FULL: ofModel,
  FILE_UNWRITABLE: ofModel,
  OUT_OF_MEMORY: ofMemory,
  OUT_OF_THREADS: ofMemory,
  QUEUE_FULL: { status: 429, retryAfter: 5 },
  TIMED_OUT: ofMix,
  DISPOSED: { status: 503, retryAfter: 5, instead: () => 'The model is being unloaded' },
  ADDON_UNAVAILABLE: ofModel,
  BUILD_FAILED: ofModel,
  NOT_FINITE: ofMix,
  INTERNAL: { status: 500, instead: () => 'A bug of the server; its log says more' },
}
