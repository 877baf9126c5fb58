/** The routes that mixes and sweeps have in common: POST, GET, events, cancel, DELETE. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import type { Context } from '../context.js'
import { type Job, type JobKind, isFinished } from '../jobs/jobs.js'
import { gone, notFound, serverProblem, unprocessable } from '../problem.js'
import { readBody } from '../request/body.js'
import { submit } from '../request/submit.js'
import type { EventStreams } from './events.js'
import { eventsAnswer, idParameter, json, problems } from './schemas.js'

export interface JobRoutes {
  kind: JobKind
  /** '/v1/mixes' */
  path: string
  /** Of a job, beside `self` and `events`. */
  links: (self: string) => Record<string, string>
}

interface WithId {
  Params: { id: string }
}

/** The job of a route's id. */
export async function jobOf(
  { jobs }: Context,
  kind: JobKind,
  { params }: FastifyRequest<WithId>,
): Promise<Job> {
  const job = await jobs.get(params.id)
  if (job === 'gone') throw gone(kind)
  if (job?.kind !== kind) throw notFound(kind)
  return job
}

export function jobRoutes(
  app: FastifyInstance,
  context: Context,
  streams: EventStreams,
  { kind, path, links }: JobRoutes,
): void {
  const { jobs, limits, schemas } = context
  const selfOf = ({ id }: Job) => `${path}/${id}`
  const asJson = (job: Job) => {
    const self = selfOf(job)
    return { ...job, links: { self, events: `${self}/events`, ...links(self) } }
  }
  const tags = [`${kind === 'mix' ? 'mixes' : 'sweeps'}`]
  const job = (description: string) => json(description, { $ref: 'Job#' })
  const isOf = (request: FastifyRequest<WithId>) => jobOf(context, kind, request)

  app.post(
    path,
    {
      schema: {
        tags,
        summary: `Puts a ${kind} into the queue`,
        headers: {
          type: 'object',
          properties: {
            'idempotency-key': {
              type: 'string',
              maxLength: 255,
              description: 'the same key with the same body gives the same job',
            },
            'job-priority': {
              type: 'integer',
              minimum: 0,
              maximum: 7,
              description: 'who comes first: 0 before 7, 3 if nothing is said',
            },
          },
        },
        body: {
          required: true,
          content: {
            'application/json': { schema: schemas[kind] },
            'multipart/form-data': { schema: withParts(schemas[kind], context.guard.pictures) },
          },
        },
        response: {
          202: json(
            'It waits, or runs already',
            { $ref: 'Job#' },
            { location: { type: 'string' } },
          ),
          ...problems(400, 413, 415, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const key = keyOf(request)
      const body = await readBody(request, schemas[kind], limits.bodyBytes)
      const { job } = await submit(context, { kind, ...body, key, priority: priorityOf(request) })
      return reply.code(202).header('location', selfOf(job)).send(asJson(job))
    },
  )

  const one = { tags, params: idParameter }
  app.get<WithId>(
    `${path}/:id`,
    {
      schema: {
        ...{ ...one, summary: `The state of a ${kind}` },
        response: { 200: job('As it is now'), ...problems(404, 410) },
      },
    },
    async (request) => asJson(await isOf(request)),
  )

  app.get<WithId>(
    `${path}/:id/events`,
    {
      exposeHeadRoute: false,
      schema: {
        ...{ ...one, summary: `What happens to a ${kind}, as server-sent events` },
        headers: {
          type: 'object',
          properties: {
            'last-event-id': { type: 'string', description: 'go on after this event' },
          },
        },
        response: { 200: eventsAnswer, ...problems(404, 410) },
      },
    },
    async (request, reply) => {
      const { id } = await isOf(request)
      return streams.send(request, reply, id)
    },
  )

  app.post<WithId>(
    `${path}/:id/cancel`,
    {
      schema: {
        ...{ ...one, summary: `Ends a ${kind}, in the middle of a step if it runs` },
        response: { 202: job('It ends'), ...problems(404, 409, 410) },
      },
    },
    async (request, reply) => {
      const { id, status } = await isOf(request)
      if (isFinished(status)) {
        throw serverProblem('CONFLICT', `This ${kind} is ${status} already`, { status })
      }
      const cancelled = await jobs.cancel(id)
      if (cancelled === 'gone' || cancelled === undefined) throw gone(kind)
      return reply.code(202).send(asJson(cancelled))
    },
  )

  app.delete<WithId>(
    `${path}/:id`,
    {
      schema: {
        ...{ ...one, summary: `Forgets a ${kind}; cancels it if it is not finished` },
        response: { 204: { description: 'It is gone', type: 'null' }, ...problems(404, 410) },
      },
    },
    async (request, reply: FastifyReply) => {
      const { id } = await isOf(request)
      await jobs.remove(id)
      return reply.code(204).send()
    },
  )
}

function keyOf({ headers }: FastifyRequest): string | undefined {
  const { 'idempotency-key': key } = headers
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  throw unprocessable('Expected 1 to 255 printable characters for Idempotency-Key', {
    name: 'Idempotency-Key',
  })
}

function priorityOf({ headers }: FastifyRequest): number | undefined {
  const { 'job-priority': priority } = headers
  if (priority === undefined) return undefined
  if (typeof priority === 'string' && /^[0-7]$/.test(priority)) return Number(priority)
  throw unprocessable('Expected a whole number from 0 to 7 for Job-Priority', {
    name: 'Job-Priority',
  })
}

/** Of multipart: pictures come as parts of their names, `request` may hold everything else. */
function withParts(schema: object, pictures: readonly string[]): object {
  const { properties = {}, required, ...rest } = schema as Record<string, object>
  const file = { type: 'string', contentMediaType: 'application/octet-stream' }
  const parts = Object.fromEntries(pictures.map((name) => [name, file]))
  const request = { type: 'string', contentMediaType: 'application/json' }
  return { ...rest, properties: { ...properties, ...parts, request } }
}
