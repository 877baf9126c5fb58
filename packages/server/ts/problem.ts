/** Errors as clients get them: `application/problem+json` (RFC 9457) with a code for programs. */
import { MagicMixError, type MagicMixErrorCode } from 'magicmix'

import { mixCodes } from './mix-codes.js'
import { problemCodes } from './problem-codes.js'

/** Codes of the server's own, beside those of {@link MagicMixError}. */
export type ServerCode =
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN_ORIGIN'
  | 'NOT_FOUND'
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

/**
 * Codes of problems: the server's own, and those of {@link MagicMixError}.
 *
 * @example
 * ```ts
 * import type { ProblemCode } from 'magicmix-server'
 *
 * const passing: readonly ProblemCode[] = ['QUEUE_FULL', 'RATE_LIMITED', 'DRAINING', 'NO_WORKER']
 * const mayTryAgain = (code: ProblemCode) => passing.includes(code)
 * ```
 */
export type ProblemCode = ServerCode | MagicMixErrorCode

/**
 * A problem as JSON.
 *
 * @example
 * ```ts
 * import { type ProblemJson, createServer } from 'magicmix-server'
 *
 * const { app } = await createServer()
 * const payload = { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger', nu: 2 }
 * const answer = await app.inject({ method: 'POST', url: '/v1/mixes', payload })
 * const { status, code, detail } = answer.json<ProblemJson>()
 * console.log(status, code, detail) // 422 INVALID_ARGUMENT Expected a number between 0 and 1 for nu ...
 * ```
 */
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

/**
 * An error that is answered as it stands.
 *
 * @example
 * ```ts
 * import { MemoryJobs, type Order, Problem, createServer } from 'magicmix-server'
 *
 * class AtNight extends MemoryJobs {
 *   override async submit(order: Order) {
 *     if (new Date().getHours() < 6) return super.submit(order)
 *     throw new Problem(503, 'QUEUE_FULL', 'Come back at night', {}, { 'retry-after': '3600' })
 *   }
 * }
 * const server = await createServer({ jobs: (options) => new AtNight(options) })
 * ```
 */
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

  /**
   * What clients get.
   *
   * @example
   * ```ts
   * import { Problem } from 'magicmix-server'
   *
   * const { status, title, code } = new Problem(404, 'NOT_FOUND', 'There is no such picture').toJSON()
   * console.log(status, title, code) // 404 Not Found NOT_FOUND
   * ```
   */
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

/** A problem of the server's own, as the table has it; `headers` win over those that come from there. */
export function serverProblem(
  code: ServerCode,
  detail: string,
  details: Record<string, unknown> = {},
  headers: Readonly<Record<string, string>> = {},
): Problem {
  const { status, retryAfter } = problemCodes[code]
  return new Problem(status, code, detail, details, { ...retry(retryAfter), ...headers })
}

const retry = (seconds: number | undefined): Record<string, string> =>
  seconds === undefined ? {} : { 'retry-after': String(seconds) }

const statuses: Readonly<Partial<Record<string, { status: number; named?: number }>>> = {
  ...problemCodes,
  ...mixCodes,
}

/** All codes, or those of a status. */
export function codesOf(status?: number): string[] {
  const codes = Object.keys(statuses)
  if (status === undefined) return codes
  return codes.filter((code) => [statuses[code]?.status, statuses[code]?.named].includes(status))
}

/** The HTTP status where the answer is what became of a job; a worker may be of a newer version and have other codes. */
export const statusOf = (code: ProblemCode): number => statuses[code]?.status ?? 500

/** The problem that an error is to a client; undefined for a bug. */
export function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error
  if (error instanceof MagicMixError) return problemOfMix(error)
  return problemOfFastify(error)
}

function problemOfMix(error: MagicMixError): Problem | undefined {
  const { code, message } = error
  return code === 'INTERNAL' ? undefined : mixProblem(code, message, error.toJSON().details)
}

/** What a client hears of a bug. */
export const bug = () => mixProblem('INTERNAL', '')

function mixProblem(
  code: MagicMixErrorCode,
  message: string,
  details: Record<string, unknown> = {},
): Problem {
  const { status, retryAfter, instead } = mixCodes[code]
  if (instead) return new Problem(status, code, instead(code), {}, retry(retryAfter))
  return new Problem(status, code, message, details, retry(retryAfter))
}

/** By their codes: the errors of fastify and its plugins. */
function problemOfFastify(error: unknown): Problem | undefined {
  const { code = '', statusCode, message = '' } = Object(error) as Partial<FastifyLikeError>
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_INVALID_MULTIPART_CONTENT_TYPE':
      return serverProblem('UNSUPPORTED_MEDIA_TYPE', typesTaken)
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
    case 'FST_REQ_FILE_TOO_LARGE':
    case 'FST_FILES_LIMIT':
    case 'FST_PARTS_LIMIT':
    case 'FST_FIELDS_LIMIT':
      return serverProblem('TOO_LARGE', message)
  }
  // Of a client's own making, and nothing that we know by name: a body that ends early, a bad URL.
  if (statusCode === 413) return serverProblem('TOO_LARGE', message)
  if (statusCode === 415) return serverProblem('UNSUPPORTED_MEDIA_TYPE', typesTaken)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return serverProblem('BAD_REQUEST', message.slice(0, 200))
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
  const problem = (error instanceof MagicMixError && problemOfMix(error)) || bug()
  const { code, detail: message, details } = problem.toJSON()
  return { code, message, ...(details ? { details } : {}) }
}

/**
 * Why a job failed.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const { jobs } = (await createServer()).context
 * const whyFailed = async (id: string) => {
 *   const job = await jobs.get(id)
 *   return typeof job === 'object' && job.error ? `${job.error.code}: ${job.error.message}` : undefined
 * }
 * ```
 */
export interface JobError {
  /** The kind, for programs. */
  code: ProblemCode
  /** For people. */
  message: string
  /** The values at fault. */
  details?: Record<string, unknown>
}

export const notFound = (what: string) =>
  serverProblem('NOT_FOUND', `There is no ${what} of that id here`)
export const gone = (what: string) =>
  serverProblem('GONE', `This ${what} has expired, or was deleted`)
export const draining = () => serverProblem('DRAINING', 'The server is shutting down')
export const unprocessable = (message: string, details: Record<string, unknown> = {}) =>
  new Problem(422, 'INVALID_ARGUMENT', message, details)
/** Of a model that a request names. */
export const noSuchModel = (message: string, details: Record<string, unknown> = {}) =>
  new Problem(mixCodes.MODEL_NOT_FOUND.named ?? 422, 'MODEL_NOT_FOUND', message, details)
