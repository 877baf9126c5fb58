/** Errors as clients get them: `application/problem+json` (RFC 9457) with a code for programs. */
import { MagicMixError, type MagicMixErrorCode } from 'magicmix'

/** Codes of the server's own, beside those of {@link MagicMixError}. */
export type ServerCode =
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN_ORIGIN'
  | 'NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'NOT_ACCEPTABLE'
  | 'REQUEST_TIMEOUT'
  | 'CONFLICT'
  | 'GONE'
  | 'TOO_LARGE'
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'RATE_LIMITED'
  | 'DRAINING'
  | 'NO_WORKER'
  | 'WORKER_LOST'
  | 'QUEUE_UNAVAILABLE'

/** Codes of problems: the server's own, and those of {@link MagicMixError}. */
export type ProblemCode = ServerCode | MagicMixErrorCode

/** A problem as JSON. */
export interface ProblemJson {
  /** Which kind it is: of ours `urn:magicmix:` and the code. */
  type: string
  /** The same for people. */
  title: string
  /** The HTTP status. */
  status: number
  /** What is wrong here. */
  detail: string
  /** The kind, for programs. */
  code: ProblemCode
  /** The values at fault. */
  details?: Record<string, unknown>
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** An error that is answered as it stands. */
export class Problem extends Error {
  constructor(
    /** The HTTP status. */
    readonly status: number,
    /** The kind, for programs. */
    readonly code: ProblemCode,
    detail: string,
    /** The values at fault. */
    readonly details?: Record<string, unknown>,
    /** Headers of the answer, such as `retry-after`. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail)
  }

  /** What clients get. */
  toJSON(): ProblemJson {
    const { status, code, message, details } = this
    return {
      type: `urn:magicmix:${code.toLowerCase().replaceAll('_', '-')}`,
      title: titles[status] ?? 'Error',
      status,
      detail: message,
      code,
      ...(details && Object.keys(details).length > 0 ? { details } : {}),
    }
  }
}

/** What is wrong with a request itself. */
const ofRequests: ReadonlySet<MagicMixErrorCode> = new Set([
  ...(['INVALID_ARGUMENT', 'UNKNOWN_OPTION', 'PROMPT_TOO_LONG'] as const),
  ...(['PHRASE_NOT_FOUND', 'PHRASE_TRUNCATED', 'PICTURE_UNREADABLE'] as const),
  ...(['RECIPE_NOT_FOUND', 'RECIPE_INVALID', 'RECIPE_MISMATCH'] as const),
])

/** Whether it is the request that was wrong. */
export const isOfRequests = (code: ProblemCode) => ofRequests.has(code as MagicMixErrorCode)

const retry = (seconds: number) => ({ 'retry-after': String(seconds) })

/** The problem that an error is to a client; undefined for a bug. */
export function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error
  if (error instanceof MagicMixError) return problemOfMix(error)
  return problemOfFastify(error)
}

function problemOfMix(error: MagicMixError): Problem | undefined {
  const { code, message } = error
  if (ofRequests.has(code)) return new Problem(422, code, message, error.toJSON().details)
  if (code === 'QUEUE_FULL') return new Problem(429, code, message, {}, retry(5))
  if (code === 'DISPOSED')
    return new Problem(503, code, 'The model is being unloaded', {}, retry(5))
  // A path or a device of this machine is not for clients: the log has it.
  if (code === 'OUT_OF_MEMORY' || code === 'OUT_OF_THREADS') {
    return new Problem(503, code, 'There is not enough memory now', {}, retry(30))
  }
  return code === 'INTERNAL' ? undefined : new Problem(503, code, unusable(code), {}, retry(60))
}

/** By their codes: the errors of fastify and its plugins. */
function problemOfFastify(error: unknown): Problem | undefined {
  const { code = '', statusCode, message = '' } = Object(error) as Partial<FastifyLikeError>
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_INVALID_MULTIPART_CONTENT_TYPE':
      return new Problem(415, 'UNSUPPORTED_MEDIA_TYPE', typesTaken)
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
    case 'FST_REQ_FILE_TOO_LARGE':
    case 'FST_FILES_LIMIT':
    case 'FST_PARTS_LIMIT':
    case 'FST_FIELDS_LIMIT':
      return new Problem(413, 'TOO_LARGE', message)
  }
  // Of a client's own making, and nothing that we know by name: a body that ends early, a bad URL.
  if (statusCode === 413) return new Problem(413, 'TOO_LARGE', message)
  if (statusCode === 415) return new Problem(415, 'UNSUPPORTED_MEDIA_TYPE', typesTaken)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new Problem(400, 'BAD_REQUEST', message.slice(0, 200))
  }
  return undefined
}

interface FastifyLikeError {
  code: string
  statusCode: number
  message: string
}

const typesTaken = 'Send application/json or multipart/form-data'

/** What a client may know of an error that ended a job. */
export function publicError(error: unknown): JobError {
  if (error instanceof Problem) return { code: error.code, message: error.message }
  if (!(error instanceof MagicMixError)) return { code: 'INTERNAL', message: 'A bug of the server' }
  const { code } = error
  if (ofRequests.has(code) || told.has(code)) {
    return { code, message: error.message, details: error.toJSON().details }
  }
  return { code, message: unusable(code) }
}

/** Where a model lies and what became of a device is for the log alone. */
const unusable = (code: string) => `The model cannot be used (${code}); the server's log says why`

const told: ReadonlySet<MagicMixErrorCode> = new Set(['NOT_FINITE', 'TIMED_OUT', 'QUEUE_FULL'])

/** Why a job failed. */
export interface JobError {
  /** The kind, for programs. */
  code: ProblemCode
  /** For people. */
  message: string
  /** The values at fault. */
  details?: Record<string, unknown>
}

export const notFound = (what: string) =>
  new Problem(404, 'NOT_FOUND', `There is no ${what} of that id here`)
export const gone = (what: string) =>
  new Problem(410, 'GONE', `This ${what} has expired, or was deleted`)
export const draining = () =>
  new Problem(503, 'DRAINING', 'The server is shutting down', {}, retry(10))
export const unprocessable = (message: string, details: Record<string, unknown> = {}) =>
  new Problem(422, 'INVALID_ARGUMENT', message, details)
