/** Schemas of answers, for /openapi.json. */
import { codesOf } from '../problem.js'

const text = { type: 'string' }
const integer = { type: 'integer' }
const time = { type: 'string', format: 'date-time' }
const orNull = (schema: object) => ({ anyOf: [schema, { type: 'null' }] })
const anyObject = { type: 'object', additionalProperties: true }

export function object(properties: Readonly<Record<string, object>>, optional: string[] = []) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: false }
}

const anyCode = { type: 'string', enum: codesOf() }

export const problemSchema = {
  $id: 'Problem',
  title: 'Problem',
  description: 'An error (RFC 9457). Programs look at `code`.',
  ...object(
    { type: text, title: text, status: integer, detail: text, code: anyCode, details: anyObject },
    ['details'],
  ),
}

const errorSchema = object({ code: anyCode, message: text, details: anyObject }, ['details'])

export const jobSchema = {
  $id: 'Job',
  title: 'Job',
  ...object({
    id: text,
    kind: { enum: ['mix', 'sweep'] },
    model: text,
    status: { enum: ['queued', 'running', 'completed', 'failed', 'cancelled'] },
    createdAt: time,
    startedAt: orNull(time),
    finishedAt: orNull(time),
    expiresAt: { ...orNull(time), description: 'from then on its id is gone' },
    position: { ...orNull(integer), description: 'of one that waits: jobs that come first' },
    progress: { ...orNull(anyObject), description: 'the data of the latest `progress`' },
    error: { ...orNull(errorSchema), description: 'why it failed' },
    result: {
      ...orNull(anyObject),
      description:
        'of a mix its size, seed, timings and recipe; of a sweep its plan, axes and the cells that are there',
    },
    links: { type: 'object', additionalProperties: text },
  }),
}

const titles: Readonly<Record<number, string>> = {
  400: 'The body is no JSON, or the request none of HTTP',
  401: 'The token is missing, or another',
  403: 'A foreign Host or Origin',
  404: 'There is none of that id',
  406: 'None of these formats',
  409: 'It does not go with the state of the job',
  410: 'It has expired, or was deleted',
  413: 'Larger than the limits',
  415: 'Neither JSON nor multipart',
  422: 'The request is refused: `code` and `details` say what is wrong',
  429: 'Too many requests, or a full queue; see Retry-After',
  503: 'The server is shutting down, short of memory, or without a model or a worker; see Retry-After',
}

/** Answers that are problems, of these statuses beside those that every route has. */
export function problems(...statuses: number[]) {
  const all = [...new Set([401, 403, 429, ...statuses])].sort((a, b) => a - b)
  return Object.fromEntries(
    all.map((status) => [
      status,
      {
        description: `${titles[status] ?? 'Error'}. Codes: ${codesOf(status).join(', ')}`,
        content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
      },
    ]),
  )
}

/** An answer in JSON. */
export function json(description: string, schema: object, headers: Record<string, object> = {}) {
  return { description, headers, content: { 'application/json': { schema } } }
}

/** The answer with a picture. */
export const pictureAnswer = {
  description: 'The picture, in the format that `Accept` asks for',
  headers: { etag: { type: 'string' } },
  content: Object.fromEntries(
    ['image/png', 'image/webp', 'image/jpeg'].map((type) => [
      type,
      { schema: { type: 'string', contentMediaType: type } },
    ]),
  ),
}

export const eventsAnswer = {
  description:
    'Server-sent events with ids: `progress`, `preview`, of a sweep `cell`, and `end`; a comment where nothing happens',
  content: { 'text/event-stream': { schema: { type: 'string' } } },
}

export const idParameter = {
  type: 'object',
  properties: { id: { type: 'string' } },
  required: ['id'],
}
