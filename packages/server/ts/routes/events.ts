/** The events of a job as server-sent events. */
import { Readable } from 'node:stream'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { Context } from '../context.js'
import type { JobEvent } from '../jobs/jobs.js'
import { serverProblem } from '../problem.js'

export class EventStreams {
  private open = 0

  constructor(private readonly context: Context) {}

  get count(): number {
    return this.open
  }

  /** Those of the job `id` after the one that the client has seen last. */
  send(request: FastifyRequest, reply: FastifyReply, id: string): FastifyReply {
    const { closing, limits, heartbeat, jobs } = this.context
    if (this.open >= limits.streams) {
      const message = 'Too many event streams are open; ask for the state instead'
      throw serverProblem('RATE_LIMITED', message)
    }
    const last = Number(request.headers['last-event-id'] ?? 0)
    const gone = new AbortController()
    const leave = () => gone.abort()
    closing.addEventListener('abort', leave, { once: true })
    const after = Number.isSafeInteger(last) && last > 0 ? last : 0
    const events = jobs.events(id, after, gone.signal)
    const stream = Readable.from(textsOf(events, heartbeat), { highWaterMark: 2 })
    this.open++
    stream.once('close', () => {
      this.open--
      closing.removeEventListener('abort', leave)
      leave()
    })
    // Not the stream's own end: while it waits for an event it does not look.
    reply.raw.once('close', leave)
    return reply
      .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
      .type('text/event-stream; charset=utf-8')
      .send(stream)
  }
}

/** With a comment wherever nothing has happened for a while, so that nobody on the way hangs up. */
async function* textsOf(
  events: AsyncIterable<JobEvent>,
  heartbeat: number,
): AsyncGenerator<string, void, undefined> {
  yield 'retry: 2000\n\n'
  const iterator = events[Symbol.asyncIterator]()
  let next = iterator.next()
  for (;;) {
    const result = await Promise.race([next, silence(heartbeat)])
    if (result === undefined) {
      yield ': still here\n\n'
      continue
    }
    if (result.done) return
    const { id, event, data } = result.value
    yield `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
    next = iterator.next()
  }
}

function silence(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, ms, undefined).unref())
}
